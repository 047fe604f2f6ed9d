"""The inference API keeps to its OpenAPI document, whatever is sent: no server error of ours, and a row for each request.

`make fuzz` runs the same for as long as FUZZ_S says.
"""

import json
from pathlib import Path

import httpx
import pytest

from router.inference.shapes import SHAPES
from tests.integration.router.conftest import Stack
from tests.integration.router.fuzzing import SECONDS, fuzz

FOR_S = max(SECONDS // 2, 30)
CASES_MIN = 300
MODELS = ["simulated"]


@pytest.mark.timeout(FOR_S * 3 + 120)
def test_the_inference_api_keeps_to_its_document_and_every_request_has_a_row(stack: Stack, tmp_path: Path) -> None:
    document = httpx.get(stack.router.url + "/openapi.json").json()
    document["paths"] = {path: document["paths"][path] for path in SHAPES}
    for schema in document["components"]["schemas"].values():
        if "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"enum": MODELS}  # a name that is drawn is never one that is served
    narrowed = tmp_path / "openapi.json"
    narrowed.write_text(json.dumps(document))
    report = fuzz(str(narrowed), tmp_path, stack.api_key, FOR_S, "--url", stack.router.url, phases="examples,coverage,fuzzing")
    print(f"{report['test_cases']['generated']} cases, {report['running_time']:.0f} s")
    assert report["operations"]["tested"] == len(SHAPES)
    assert report["test_cases"]["generated"] >= CASES_MIN
    assert '"level": "error"' not in stack.router.log.read_text()
    answered = _counted(stack)
    assert len(stack.rows(answered)) == answered > CASES_MIN // 2


def _counted(stack: Stack) -> int:
    """How many attempts and refusals of known keys the router says that it had."""
    lines = httpx.get(stack.router.url + "/metrics").text.splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("inferhouse_requests_total{"))
