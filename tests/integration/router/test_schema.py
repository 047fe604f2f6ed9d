"""The management API keeps to its OpenAPI document, whatever is sent: schemathesis finds neither a server error nor a violation.

`make fuzz` runs the same for as long as FUZZ_S says; in the suite the time is short and the seed is fixed.
"""

import re
from pathlib import Path

import httpx
import pytest

from router.inference.shapes import SHAPES
from router.management.app import PUBLIC, SIGNED_IN
from tests.integration.router.conftest import Stack
from tests.integration.router.fuzzing import SECONDS, fuzz

EXAMPLES_MIN = 1000 if SECONDS < 120 else 2000
# Bodies, headers and paths as attackers send them, then chains of calls that use what earlier ones have made.
# A run may switch every engine off, and then the router says that it is not ready.
NOT_MANAGEMENT = "^(/(health|metrics|v1/models)|({})$)".format("|".join(map(re.escape, SHAPES)))
# They end the session, or make its token an old one, and all that came after would be refused.
ENDING = "^(sign_out|rotate_session)$"
PHASES = "examples,coverage,fuzzing,stateful"


def _organization(stack: Stack) -> str:
    answer = httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Bearer {stack.admin_key}"})
    return str(answer.json()["data"][0]["id"])


@pytest.mark.timeout(SECONDS * 4 + 120)
def test_the_api_keeps_to_its_document(stack: Stack, tmp_path: Path) -> None:
    """As the platform's key, which may do everything and is not ended by what a run does to people."""
    report = fuzz(
        stack.router.url + "/openapi.json", tmp_path, stack.admin_key, SECONDS,
        "-H", f"OpenAI-Organization: {_organization(stack)}", "--exclude-path-regex", NOT_MANAGEMENT, phases=PHASES,
    )  # fmt: skip
    operations, generated = report["operations"], report["test_cases"]["generated"]
    print(f"{generated} cases, {operations['tested']} of {operations['selected']} operations, {report['running_time']:.0f} s")
    assert operations["tested"] == operations["selected"] >= operations["total"] - len(SHAPES) - 5
    assert generated >= EXAMPLES_MIN
    assert '"level": "error"' not in stack.router.log.read_text()


@pytest.mark.timeout(SECONDS * 2 + 120)
def test_what_signed_in_people_ask_keeps_to_its_document(stack: Stack, tmp_path: Path) -> None:
    organization = _organization(stack)
    answer = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password})
    paths = "|".join(re.escape(path) for _, path in sorted(PUBLIC | SIGNED_IN))
    token = answer.json()["token"]
    report = fuzz(
        stack.router.url + "/openapi.json", tmp_path, token, max(SECONDS // 4, 10),
        "-H", f"OpenAI-Organization: {organization}", "--include-path-regex", f"^({paths})$",
        "--exclude-operation-id-regex", ENDING, phases=PHASES,
    )  # fmt: skip
    assert report["operations"]["tested"] == report["operations"]["selected"] >= 5
    assert '"level": "error"' not in stack.router.log.read_text()
