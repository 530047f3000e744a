"""Attacks that try to bring a forgotten class back, one file each, and what their outcome says."""
