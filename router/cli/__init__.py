"""The `inferhouse` command, over the management API. It needs neither database nor server packages."""
