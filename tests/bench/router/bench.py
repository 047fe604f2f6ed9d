"""What every part of the benchmark is given, and what it gives back."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.router.machine import Cores
from tests.bench.router.ours import Ours, unexplained
from tests.bench.router.peers import IN_MEMORY, PEERS
from tests.bench.router.report import Bar, Section
from tests.bench.router.targets import Target, direct, running_peer
from tests.services import ROOT

MEMORY = "/dev/shm"


@dataclass(slots=True)
class Bench:
    """One run."""

    ours: Ours
    cores: Cores
    available: tuple[int, ...]
    folder: Path
    seconds: float
    repeats: int
    peers: tuple[str, ...]
    sections: list[Section] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, section: Section) -> None:
        """Keep a table for the report."""
        self.sections.append(section)
        print(f"  {section.title}", file=sys.stderr, flush=True)

    @contextmanager
    def running(self, name: str, upstream: int) -> Iterator[Target]:
        """A router by name, alone on its core; `direct` is the upstream itself."""
        if name == "direct":
            yield direct(upstream)
        elif name in PEERS:
            with running_peer(PEERS[name], self.cores, self.folder, upstream, self.ours.services.redis_url) as target:
                yield target
        else:
            with TemporaryDirectory(dir=MEMORY) as memory:
                journals = Path(memory) if name == IN_MEMORY else None
                with self.ours.router(self.cores, upstream, name=name, journals=journals) as target:
                    yield target

    @contextmanager
    def all_running(self, names: Sequence[str], upstream: int) -> Iterator[list[Target]]:
        """Some routers, up side by side on the router's core and measured by turns.

        What else happens on a machine slows all of a turn alike, so that ratios hold. One that is not asked uses next to nothing.
        """
        with ExitStack() as stack:
            yield [stack.enter_context(self.running(name, upstream)) for name in names]

    def load(self, module: str, *words: str | Path | float, patience_s: float = 120, as_router: bool = False) -> bytes:
        """What a load program of ours prints, run on the load's core; on the router's, if it stands for that."""
        argv = [sys.executable, "-m", f"tests.bench.router.{module}", *map(str, words)]
        argv = self.cores.on_router(argv) if as_router else self.cores.on_load(argv)
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, timeout=self.seconds + patience_s)
        assert done.returncode == 0, f"{module}: {done.stderr.decode()[-3000:]}"
        if done.stderr:
            print(done.stderr.decode(), file=sys.stderr)
        return done.stdout

    def check(self, holds: bool, said: str) -> None:
        """Something without which the figures mean nothing; the benchmark fails at its end."""
        if not holds:
            self.failures.append(said)
            print(f"FAILED: {said}", file=sys.stderr, flush=True)

    def check_load(self, target: Target, what: str, bad: int, total: int, why: str = "") -> None:
        """That no request failed. Where another router did, the report says so; where ours did, the benchmark fails."""
        if not bad:
            return
        said = f"{target.name}, {what}: {bad:,} of {total:,} did not end well{why}"
        if target.name in PEERS:
            self.remarks.append(said)
            print(said, file=sys.stderr, flush=True)
        else:
            self.check(False, said)

    @contextmanager
    def counted(self, what: str, taken: list[int], cut_off_max: int = 0) -> Iterator[None]:
        """Every request of the block is one priced row. `taken`: the numbers of answers that clients saw."""
        before = self.ours.rows()
        yield
        answered = sum(taken)
        after = self.ours.settled_rows(before.all + answered)
        for said in unexplained(what, answered, before, after, cut_off_max):
            self.check(False, said)
