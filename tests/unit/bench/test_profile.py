"""Bytecodes by the part of the work that they are of."""

import json
from pathlib import Path

import pytest

from tests.bench.router.counted import Counter
from tests.bench.router.profile import OTHERS, Run, Spent, by_duty, disk, duty_of, room
from tests.services import ROOT


def test_every_module_of_inference_is_of_a_part_of_the_work() -> None:
    modules = [*(ROOT / "router" / "inference").rglob("*.py"), *(ROOT / "warehouse" / "journal").rglob("*.py")]
    assert len(modules) > 40
    assert OTHERS not in {duty_of(str(module)) for module in modules}
    assert duty_of("/usr/lib/python3.11/asyncio/tasks.py") == OTHERS


@pytest.mark.parametrize(
    ("file", "duty"),
    [
        ("router/inference/server.py", "HTTP on both sides"),
        ("router/inference/reservations/leases.py", "limits and budgets"),
        ("router/inference/shapes/tap.py", "who asks for what, and which engine answers"),
        ("warehouse/access/usage_rows.py", "the exchange, its price, its row and the journal"),
    ],
)
def test_parts_are_found_by_where_they_are_written(file: str, duty: str) -> None:
    assert duty_of(f"/somewhere/{file}") == duty


def test_counts_are_of_one() -> None:
    counts = {"router/inference/server.py": [10, 300], "router/inference/heads.py": [10, 100], "asyncio/tasks.py": [5, 50]}
    counted = by_duty(counts, 10)
    assert counted["HTTP on both sides"] == Run(2, 40)
    assert counted[OTHERS] == Run(0.5, 5)
    assert counted["limits and budgets"] == Run(0, 0)


def test_what_is_called_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "counted.json"
    counter = Counter(path)
    numbers = list(range(10))
    counter.begin(0, None)
    for number in numbers:
        _called(number)
    counter.end(0, None)
    _called(1)
    calls, bytecodes = json.loads(path.read_text())[__file__]
    assert calls == 10
    assert 30 <= bytecodes <= 100


def _called(number: int) -> int:
    return number + 1


def test_room_is_what_the_kernel_and_the_event_loop_leave() -> None:
    of = {"inferhouse": Spent(80, 20), "vllm-router": Spent(65, 25), "forwarder": Spent(15, 12)}
    said = room("request", of, Run(150, 4560))
    assert said is not None
    assert "4,560 bytecodes take 57.0 µs, 12 ns each" in said
    assert "42.0 µs are left for them, that is 3,360" in said
    assert room("request", {"inferhouse": Spent(80, 20)}, Run(150, 4560)) is None


def test_disk_is_what_a_journal_in_memory_saves() -> None:
    of = {"inferhouse": Spent(78, 20), "inferhouse, journal in memory": Spent(66, 15), "vllm-router": Spent(65, 25)}
    assert disk("request", of) == ("request: 1.20 of vllm-router's, and 1.02 if nobody waited for the disk, which takes 12.0 µs.")
    del of["vllm-router"]
    assert disk("request", of) is None
