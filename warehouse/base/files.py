"""Small files that are whole or as they were, whatever happens meanwhile."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file beside the old one and put it in its place. Raises: OSError: the old one is as it was."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
