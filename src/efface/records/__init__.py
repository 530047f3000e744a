"""What makes a document checkable: one form in bytes, a signature, a log in which nothing is missing."""
