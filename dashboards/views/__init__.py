"""Pure: frames, figures and words, tested without a browser."""
