"""Pure functions of tensors: no model, no random state of their own, no files."""
