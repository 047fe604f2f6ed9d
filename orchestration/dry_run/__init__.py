"""`inferhouse dry-run`."""
