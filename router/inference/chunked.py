"""Chunked coding (RFC 9112, 7.1), as far as pieces of a stream come in it: small, and each by itself."""

SMALL_BYTES_MAX = 4096
SIZE_LINES = {size: b"%x\r\n" % size for size in range(1, SMALL_BYTES_MAX + 1)}
"""{size: the line before a chunk of it}. To look one up is cheaper than to write it."""
SIZES = {line: size for size, line in SIZE_LINES.items()}


def begin_of_only(data: bytes) -> int:
    """Where the content begins of a chunk that is small, whole and alone; two bytes follow it. 0: it is anything else."""
    begin = data.find(b"\n", 1, 6) + 1
    return begin if SIZES.get(data[:begin]) == len(data) - begin - 2 and data.endswith(b"\r\n") else 0
