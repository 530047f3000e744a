"""Weights and records out, in the formats they came in."""
