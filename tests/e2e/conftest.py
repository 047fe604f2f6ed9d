"""One whole instance of the product for all end-to-end tests, brought up as a person would."""

from collections.abc import Iterator

import pytest

from tests.local_instance import LocalInstance, local_instance


@pytest.fixture(scope="session")
def instance() -> Iterator[LocalInstance]:
    """The running instance of this session; removed at the end."""
    made = local_instance("e2e")
    made.remove()
    try:
        done = made.command("up")
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def stack(instance: LocalInstance) -> dict[str, str]:
    """What a developer gets from `make up`: INFERHOUSE_BASE_URL, INFERHOUSE_API_KEY, ... of the running instance."""
    return instance.outputs
