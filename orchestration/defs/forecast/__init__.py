"""Expected spend."""
