"""The settings of a server that depend on the machine."""

import pytest

from deploy.local.postgres import shared_buffers

GIB = 2**30


@pytest.mark.parametrize(
    ("memory_bytes", "expected"),
    [(GIB // 2, "128MB"), (2 * GIB, "256MB"), (24 * GIB, "3072MB"), (512 * GIB, "4096MB")],
)
def test_an_eighth_of_the_memory_within_bounds(memory_bytes: int, expected: str) -> None:
    assert shared_buffers(memory_bytes) == expected
