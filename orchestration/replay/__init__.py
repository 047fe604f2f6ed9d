"""`inferhouse replay`: a month in an empty database, and whether it comes out the same."""
