"""Attacks that try to bring a forgotten class back, and what their outcome says."""
