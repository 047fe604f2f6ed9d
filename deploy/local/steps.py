"""The steps of a start: each begins when those it needs are done, and says how long it took."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `work` returns what to say of it, or "" for nothing."""

    name: str
    work: Callable[[], str]
    after: tuple[str, ...] = ()


@dataclass(slots=True)
class Progress:
    """Lines on stderr; seconds since the start in front, so that it is seen what takes long."""

    began: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        with self.lock:
            print(f"{self.seconds:6.1f} s  {text}", file=sys.stderr, flush=True)


def run_steps(steps: Sequence[Step], progress: Progress) -> None:
    """Do all steps, side by side where they do not wait for each other.

    Raises: the first step's error. Steps that had begun are let finish first, none is begun after it.
    """
    done: set[str] = set()
    waiting = list(steps)
    with ThreadPoolExecutor(max_workers=len(steps)) as pool:
        running: dict[Future[None], str] = {}
        failure: BaseException | None = None
        while running or (waiting and not failure):
            for step in [step for step in waiting if not failure and done.issuperset(step.after)]:
                waiting.remove(step)
                running[pool.submit(_do, step, progress)] = step.name
            if not running:
                raise ValueError(f"steps wait for each other: {[step.name for step in waiting]}")
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            failed = _note(finished, running, done)
            failure = failure or failed
    if failure:
        raise failure


def _do(step: Step, progress: Progress) -> None:
    began = time.monotonic()
    said = step.work()
    if said:
        progress.say(f"{step.name:<18} {said} ({time.monotonic() - began:.1f} s)")


def _note(finished: set[Future[None]], running: dict[Future[None], str], done: set[str]) -> BaseException | None:
    """Take finished steps off the running ones; the error of one that failed, if any."""
    failures = [future.exception() for future in finished]
    done |= {running.pop(future) for future in finished}
    return next((failure for failure in failures if failure), None)
