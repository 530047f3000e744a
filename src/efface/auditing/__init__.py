"""The verb audit."""
