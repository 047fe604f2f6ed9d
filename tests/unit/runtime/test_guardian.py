"""When a process is restarted: not for one slow answer, not while it starts, but when it stays silent."""

from pathlib import Path

import pytest

from deploy.local.guardian import COMPLAINTS_MAX, Watch
from deploy.local.program import Program, code_stamp, load, save


@pytest.fixture
def program() -> Program:
    return Program("router", ["router"], {"A": "b"}, "/work/router", 30, boot_seconds_max=60)


def test_well_process_is_restarted_after_complaints_in_a_row(program: Program) -> None:
    watch = Watch(pid=1)
    watch.is_hung(program, 1, None)
    answers = [watch.is_hung(program, 10, "timed out") for _ in range(COMPLAINTS_MAX)]
    assert answers == [False] * (COMPLAINTS_MAX - 1) + [True]


def test_one_good_answer_clears_the_complaints(program: Program) -> None:
    watch = Watch(pid=1)
    for _ in range(COMPLAINTS_MAX * 2):
        watch.is_hung(program, 1, None)
        assert not watch.is_hung(program, 1, "timed out")


def test_starting_process_has_its_time(program: Program) -> None:
    watch = Watch(pid=1)
    assert not any(watch.is_hung(program, 59, "refused") for _ in range(COMPLAINTS_MAX * 2))
    assert watch.is_hung(program, 61, "refused")


def test_programs_survive_the_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "programs.json").write_text(save([program]))
    assert load(tmp_path / "programs.json") == {"router": program}


def test_digest_changes_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "app.py").write_text("a = 1\n")
    before = code_stamp(tmp_path, "router")
    assert code_stamp(tmp_path, "router") == before
    (tmp_path / "router" / "app.py").write_text("a = 22\n")
    assert code_stamp(tmp_path, "router") != before
