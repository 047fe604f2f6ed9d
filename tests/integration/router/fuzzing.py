"""schemathesis, as the tests of both APIs run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = int(os.environ.get("FUZZ_S", "60"))
"""`make fuzz` sets more; in the suite the time is short and the seed is fixed."""
SEED = "1"
SCHEMATHESIS = Path(sys.executable).with_name("st")
CONFIG = Path(__file__).with_name("schemathesis.toml")


def fuzz(document: str, folder: Path, token: str, seconds: int, *arguments: str, phases: str) -> dict[str, Any]:
    """The report of one run as JSON; it has found nothing.

    One worker: two parse lambdas at once inside of hypothesis, which CPython 3.11 answers with a SystemError.
    Args: document: its address, or a file.
    """
    report = folder / f"report-{seconds}.json"
    done = subprocess.run(
        [
            SCHEMATHESIS, "--no-color", "--config-file", CONFIG, "run", document, "-H", f"Authorization: Bearer {token}",
            "--phases", phases, "--max-time", str(seconds), "--seed", SEED, "--workers", "1", "--continue-on-failure",
            "--generation-database", "none", "--report", "json", "--report-json-path", report, *arguments,
        ],
        capture_output=True, text=True, cwd=folder, check=False, timeout=seconds * 3 + 60,
    )  # fmt: skip
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["failures"] == [], done.stdout[-20_000:]
    assert found["errors"] == [], done.stdout[-20_000:]
    return found
