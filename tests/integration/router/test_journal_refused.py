"""The disk of the journal refuses an fsync as an answer is there: who is charged for it gets it."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.router.conftest import Stack
from tests.proxy import TcpProxy

_FAILING = """
import os

sync, path = os.fdatasync, {path!r}

def fdatasync(file):
    if os.path.exists(path):
        raise OSError(5, "Input/output error")
    return sync(file)

os.fdatasync = fdatasync
"""


@pytest.fixture
def refuses(tmp_path: Path) -> Path:
    """While it exists, no fsync of the router succeeds."""
    return tmp_path / "refuses"


@pytest.fixture
def router_env(tmp_path: Path, refuses: Path) -> dict[str, str]:
    """Python runs a module of this name before the router."""
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(_FAILING.format(path=str(refuses)))
    return {"PYTHONPATH": str(tmp_path / "fault")}


@pytest.mark.parametrize("has_key", [False, True], ids=["", "Idempotency-Key"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_row_that_the_database_has_is_as_safe(
    stack: Stack, hello: dict[str, Any], refuses: Path, is_stream: bool, has_key: bool
) -> None:
    assert stack.post(hello).status_code == 200
    refuses.touch()
    headers = {"idempotency-key": str(uuid4())} if has_key else {}
    answer = stack.post(hello | {"stream": is_stream}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("data: [DONE]\n\n") if is_stream else answer.json()["choices"]
    assert [row["charge_class"] for row in stack.rows(2)] == ["charged"] * 2
    refuses.unlink()
    assert stack.post(hello).status_code == 200


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_without_the_database_as_well_it_is_said(
    stack: Stack, hello: dict[str, Any], refuses: Path, database_line: TcpProxy, is_stream: bool
) -> None:
    assert stack.post(hello).status_code == 200
    stack.rows(1)
    database_line.cut()
    refuses.touch()
    answer = stack.post(hello | {"stream": is_stream})
    assert (answer.status_code, "usage_journal_failed" in answer.text) == (200 if is_stream else 503, True)
    assert "[DONE]" not in answer.text or answer.text.rindex("usage_journal_failed") < answer.text.rindex("[DONE]")
    refuses.unlink()
    database_line.mend()
    stack.rows(2)
