"""What happened, as data, as a page and as a model card."""
