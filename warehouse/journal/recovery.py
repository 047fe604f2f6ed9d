"""What a worker that died had promised: read from its files, handed over, and the files removed when the rows are safe."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from warehouse.journal.frames import END, Kind, decode, frame_bytes

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Payloads of an earlier life: `closed` are whole rows, `lost` are open records that nobody closed."""

    closed: list[bytes]
    lost: list[bytes]
    files: list[Path] = field(default_factory=list)

    def discard(self) -> None:
        """Remove the files; only after every row is committed."""
        for path in self.files:
            path.unlink(missing_ok=True)


def recover(directory: Path) -> Recovered:
    """Everything in the journal files of a folder. Nothing is changed on disk.

    A file whose end was cut short (the process or the machine died during a write) is read up to there: what was not
    written whole was not promised to anybody.
    """
    opened: dict[bytes, bytes] = {}
    closed: dict[bytes, bytes] = {}
    files = sorted(directory.glob("*.journal"))
    for path in files:
        data, read = path.read_bytes(), 0
        for frame in decode(data):
            (opened if frame.kind is Kind.OPEN else closed)[frame.key] = frame.payload
            read += frame_bytes(frame)
        if data[read : read + len(END)].strip(b"\0"):
            _LOG.warning("journal file is damaged", extra={"file": path.name, "read_bytes": read})
    return Recovered(list(closed.values()), [payload for key, payload in opened.items() if key not in closed], files)
