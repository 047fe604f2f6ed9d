"""The router: the inference API, the management API, and the `inferhouse` command."""
