"""Steps: in order where they wait for each other, side by side where not, and none begins after a failure."""

import threading
import time

import pytest

from deploy.local.steps import Progress, Step, run_steps


def test_step_begins_after_those_it_needs() -> None:
    order: list[str] = []

    def note(name: str) -> Step:
        return Step(name, lambda: order.append(name) or "", ("first",) if name != "first" else ())

    run_steps([note("second"), note("first"), note("third")], Progress())
    assert order[0] == "first"
    assert sorted(order) == ["first", "second", "third"]


def test_independent_steps_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=5)
    steps = [Step(name, lambda: f"met {both.wait() >= 0}") for name in ("one", "other")]
    run_steps(steps, Progress())


def test_failure_is_raised_and_nothing_new_begins() -> None:
    begun: list[str] = []

    def fail() -> str:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        run_steps([Step("fails", fail), Step("after", lambda: begun.append("after") or "", ("fails",))], Progress())
    assert begun == []


def test_failure_does_not_wait_for_the_steps_under_way() -> None:
    never = threading.Event()

    def fail() -> str:
        raise OSError("no room")

    began = time.monotonic()
    with pytest.raises(OSError, match="no room"):
        run_steps([Step("slow", lambda: str(never.wait(30))), Step("fails", fail)], Progress())
    assert time.monotonic() - began < 5
    never.set()


def test_steps_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="wait for each other"):
        run_steps([Step("a", str, ("b",)), Step("b", str, ("a",))], Progress())


def test_progress_says_what_was_done_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    run_steps([Step("runtime", lambda: "unpacked"), Step("silent", str)], Progress())
    said = capsys.readouterr().err
    assert "runtime            unpacked (0.0 s)" in said
    assert "silent" not in said
