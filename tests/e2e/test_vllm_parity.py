"""Rows against vLLM's own counters: mixed requests of every kind, some of which are left in the middle.

`make parity` is the long run, of 2,000.
"""

from collections.abc import Mapping
from typing import Any

from tests.bench.vllm_parity.run import settled

REQUESTS = 60


def test_rows_have_what_vllm_has_counted(stack: Mapping[str, str], capsys: Any) -> None:
    account = settled(stack, REQUESTS)
    with capsys.disabled():
        print(f"\n{REQUESTS} requests: {account.missing} missing in rows of {account.counted}")
    assert account.mismatches() == []
    assert account.left_streams
    assert account.left_unanswered
    assert {row.endpoint for row in account.rows.values()} >= {"tokenize", "detokenize", "responses", "messages"}
