"""Chunked coding (RFC 9112, 7.1), as far as pieces of a stream come in it: small, and each by itself."""

_SMALL_BYTES = 4096
SIZE_LINES = {size: b"%x\r\n" % size for size in range(1, _SMALL_BYTES + 1)}
"""{size of the content: the line before it}. To look one up is cheaper than to write it."""
LINES = {len(line) + size + 2: line for size, line in SIZE_LINES.items()}
"""{size of the whole chunk: the line that it begins with, if it is one chunk}."""


def begin_of_only(data: bytes) -> int:
    """Where the content begins of a chunk that is small, whole and alone; two bytes follow it. 0: it is anything else."""
    line = LINES.get(len(data))
    return len(line) if line is not None and data.startswith(line) and data.endswith(b"\r\n") else 0
