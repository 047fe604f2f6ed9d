"""The management API keeps to its OpenAPI document, whatever is sent: schemathesis finds neither a server error nor a violation.

`make fuzz` runs the same for as long as FUZZ_S says; in the suite the time is short and the seed is fixed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.management.app import PUBLIC, SIGNED_IN
from tests.integration.router.conftest import Stack

SECONDS = int(os.environ.get("FUZZ_S", "60"))
EXAMPLES_MIN = 1000 if SECONDS < 120 else 2000
SEED = "1"
SCHEMATHESIS = Path(sys.executable).with_name("st")
CONFIG = Path(__file__).with_name("schemathesis.toml")
# One worker: two parse lambdas at once inside of hypothesis, which CPython 3.11 answers with a SystemError.
# Bodies, headers and paths as attackers send them, then chains of calls that use what earlier ones have made.
NOT_MANAGEMENT = (
    "^/(health|metrics|v1/models)"  # a run may switch every engine off, and then the router says that it is not ready
)
# They end the session, or make its token an old one, and all that came after would be refused.
ENDING = "^(sign_out|rotate_session)$"
PHASES = "examples,coverage,fuzzing,stateful"


def _run(stack: Stack, folder: Path, token: str, organization: str, seconds: int, *arguments: str) -> dict[str, Any]:
    """The report of one run as JSON."""
    report = folder / f"report-{seconds}.json"
    done = subprocess.run(
        [
            SCHEMATHESIS, "--no-color", "--config-file", CONFIG, "run", stack.router.url + "/openapi.json",
            "-H", f"Authorization: Bearer {token}", "-H", f"OpenAI-Organization: {organization}",
            "--phases", PHASES, "--max-time", str(seconds), "--seed", SEED, "--workers", "1", "--continue-on-failure",
            "--generation-database", "none", "--report", "json", "--report-json-path", report, *arguments,
        ],
        capture_output=True, text=True, cwd=folder, check=False, timeout=seconds * 3 + 60,
    )  # fmt: skip
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["failures"] == [], done.stdout[-20_000:]
    assert found["errors"] == [], done.stdout[-20_000:]
    return found


def _organization(stack: Stack) -> str:
    answer = httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Bearer {stack.admin_key}"})
    return str(answer.json()["data"][0]["id"])


@pytest.mark.timeout(SECONDS * 4 + 120)
def test_the_api_keeps_to_its_document(stack: Stack, tmp_path: Path) -> None:
    """As the platform's key, which may do everything and is not ended by what a run does to people."""
    report = _run(stack, tmp_path, stack.admin_key, _organization(stack), SECONDS, "--exclude-path-regex", NOT_MANAGEMENT)
    operations, generated = report["operations"], report["test_cases"]["generated"]
    print(f"{generated} cases, {operations['tested']} of {operations['selected']} operations, {report['running_time']:.0f} s")
    assert operations["tested"] == operations["selected"] >= operations["total"] - 5
    assert generated >= EXAMPLES_MIN
    assert '"level": "error"' not in stack.router.log.read_text()


@pytest.mark.timeout(SECONDS * 2 + 120)
def test_what_signed_in_people_ask_keeps_to_its_document(stack: Stack, tmp_path: Path) -> None:
    organization = _organization(stack)
    answer = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password})
    paths = "|".join(re.escape(path) for _, path in sorted(PUBLIC | SIGNED_IN))
    token = answer.json()["token"]
    report = _run(
        stack,
        tmp_path,
        token,
        organization,
        max(SECONDS // 4, 10),
        "--include-path-regex",
        f"^({paths})$",
        "--exclude-operation-id-regex",
        ENDING,
    )
    assert report["operations"]["tested"] == report["operations"]["selected"] >= 5
    assert '"level": "error"' not in stack.router.log.read_text()
