"""Measurements of a model on held-out images; they edit nothing."""
