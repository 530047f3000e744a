"""The verbs verify, sign and check: is a record true, who stands by it, and is a class back in a descendant."""
