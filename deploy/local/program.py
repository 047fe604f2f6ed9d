"""A process of the instance as data: written by `up`, read by the launcher, the guardian and `status`."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """How one process is started, watched and stopped."""

    name: str
    argv: list[str]
    env: dict[str, str]
    folder: str
    """It runs here. Nothing else does: by that a process is known to belong to this program, whatever it calls itself."""
    stage: int
    """Started in rising order, stopped in falling order."""
    health_url: str = ""
    """Asked by the guardian; see health.py."""
    health_sql: str = ""
    """What is asked where the address is a database's: one value, true when the process is well."""
    after: list[str] = field(default_factory=list)
    """Programs that must be well before this one starts."""
    stop_signal: str = "TERM"
    stop_seconds_max: int = 10
    """From the signal to SIGKILL."""
    niceness: int = 0
    """0 to 19: how readily it leaves the processor to others."""
    boot_seconds_max: int = 60
    """Not well for this long after its start, it is started again."""
    address: str = ""
    """Shown to people."""
    code_stamp: str = ""
    """Changes with the code it runs, so that `up` restarts it."""

    @property
    def digest(self) -> str:
        """Changes when the process has to be started again."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def save(programs: Iterable[Program]) -> str:
    return json.dumps([asdict(program) for program in programs], indent=1)


def load(path: Path) -> dict[str, Program]:
    """The programs by name; empty when the instance was never started."""
    entries = json.loads(path.read_text()) if path.is_file() else []
    return {entry["name"]: Program(**entry) for entry in entries}


def code_stamp(code: Path, *parts: str) -> str:
    """Changes whenever a file under one of these parts of the code does."""
    stamp = hashlib.sha256()
    for part in parts:
        for path in sorted((code / part).rglob("*")):
            if path.is_file() and path.suffix in {".py", ".sql", ".toml", ".yml", ".yaml", ".lua"}:
                stamp.update(f"{path.relative_to(code)} {path.stat().st_mtime_ns} {path.stat().st_size}\n".encode())
    return stamp.hexdigest()[:16]
