"""Computations that connect to nothing: frames, rows and documents in, and out."""
