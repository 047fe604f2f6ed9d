"""The gate that draft invoice lines must pass."""
