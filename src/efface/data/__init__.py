"""Held-out images that nobody but an evaluation may see, and how images and class names are read."""
