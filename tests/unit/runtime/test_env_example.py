"""`.env.example` lists every setting of every process, and nothing that is none."""

import itertools
import re
from pathlib import Path

from deploy.local.plan import MANAGED
from deploy.local.preflight import settings_classes
from deploy.local.settings import LocalSettings

ROOT = Path(__file__).resolve().parents[3]


def every_setting() -> set[str]:
    classes = [LocalSettings, *settings_classes().values()]
    return {f"{settings.PREFIX}{field.upper()}" for settings in classes for field in settings.model_fields}


def test_every_setting_is_in_the_example_once() -> None:
    listed = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(every_setting())


def test_every_setting_is_explained() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"#[A-Z][A-Z0-9_]*=", line):
            assert above.startswith("# "), f"{line} has no word of explanation above it"
            assert not above.startswith("# ---"), f"{line} has no word of explanation above it"


def test_what_the_runtime_sets_is_a_setting() -> None:
    assert set(MANAGED) <= every_setting()
