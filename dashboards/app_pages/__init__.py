"""One module a page: guard, load, compute, draw."""
