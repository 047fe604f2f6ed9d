"""`inferhouse what-if`."""
