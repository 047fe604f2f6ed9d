"""The file of `inferhouse apply`: numbers as they are written, and the line of whatever is wrong."""

import re
from pathlib import Path

import pytest

from router.cli.declaration import BYTES_MAX, Invalid, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "organization.yaml"


def test_numbers_are_not_read_as_floats(file: Path) -> None:
    file.write_text("budgets: [{period: month, limit_usd: 0.10, alert_percents: [50]}, {period: day, limit_usd: 1_000}]\n")
    assert read(file) == {
        "budgets": [
            {"period": "month", "limit_usd": "0.10", "alert_percents": [50]},
            {"period": "day", "limit_usd": "1000"},
        ]
    }


def test_a_null_is_a_value_and_what_is_not_named_is_absent(file: Path) -> None:
    file.write_text("organization: {key_days_max: null, totp_required: true, name: '12'}\n")
    assert read(file) == {"organization": {"key_days_max": None, "totp_required": True, "name": "12"}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("projects:\n  - name: A\n    budget: []\n", "line 3: an entry of projects has no 'budget'; it has name, members"),
        ("projects:\n  - budgets: []\n", "line 2: an entry of projects lacks name"),
        ("projects:\n  - name:\n", "line 2: an entry of projects lacks name"),
        ("budgets: [{period: day, limit_usd: 1e3}]\n", "line 1: limit_usd is a usd, not '1e3'"),
        ("budgets: [{period: day, limit_usd: -1}]\n", "line 1: limit_usd is a usd, not '-1'"),
        ("limits: [{requests_per_minute: 1.5}]\n", "line 1: requests_per_minute is a number, not '1.5'"),
        ("organization: {totp_required: yes}\n", "line 1: totp_required is a boolean, not 'yes'"),
        ("organization:\n  name: A\n  name: B\n", "line 3: 'name' is there twice"),
        ("projects: {}\n", "line 1: projects is a list"),
        ("- projects\n", "line 1: the file has names and values"),
        ("a: [\n", "this is no YAML"),
        ("a: !!python/object:os.system {}\n", "the file has no 'a'"),
        ("", "is empty"),
        ("#" * (BYTES_MAX + 1), "is larger than"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(Invalid, match=re.escape(str(file)) + ".*" + re.escape(says)):
        read(file)
