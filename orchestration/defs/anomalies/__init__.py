"""Runaway keys, found and told of."""
