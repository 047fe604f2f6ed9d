"""The steps of a start: each begins when those it needs are done, and says how long it took."""

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
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

    Raises: the first step's error, at once. Steps under way go on in threads that end with this process; the caller stops
    what they work on.
    """
    done: set[str] = set()
    waiting = list(steps)
    running = 0
    ended: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()
    while waiting or running:
        for step in [step for step in waiting if done.issuperset(step.after)]:
            waiting.remove(step)
            running += 1
            threading.Thread(target=_do, args=(step, progress, ended), name=step.name, daemon=True).start()
        if not running:
            raise ValueError(f"steps wait for each other: {[step.name for step in waiting]}")
        name, error = ended.get()
        running -= 1
        if error:
            raise error
        done.add(name)


def _do(step: Step, progress: Progress, ended: "queue.SimpleQueue[tuple[str, BaseException | None]]") -> None:
    began = time.monotonic()
    try:
        said = step.work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the steps were asked for
        ended.put((step.name, error))
        return
    if said:
        progress.say(f"{step.name:<18} {said} ({time.monotonic() - began:.1f} s)")
    ended.put((step.name, None))
