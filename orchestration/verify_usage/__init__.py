"""`inferhouse verify-usage`."""
