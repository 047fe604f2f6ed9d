"""What the command prints: exact money, cells that no spreadsheet runs, and no text that moves a terminal's cursor."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from router.cli import output
from router.cli.output import Format

ROW: dict[str, Any] = {"object": "x", "id": "a", "amount": Decimal("0.00000216"), "created_at": 1_795_431_502, "missing": None}


def test_money_is_exact_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    for form in Format:
        output.rows([ROW], (), form)
        assert "0.00000216" in capsys.readouterr().out, form
    output.one(ROW, Format.JSON)
    assert json.loads(capsys.readouterr().out)["amount"] == "0.00000216"


def test_a_cell_that_a_spreadsheet_would_run_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["=1+1", "+cmd", "-1+1", "@sum", "\tx", "-5", "+5", "plain"]
    output.rows([{"name": name} for name in names], ("name",), Format.CSV)
    written = [row["name"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert written == ["'=1+1", "'+cmd", "'-1+1", "'@sum", "'\tx", "-5", "+5", "plain"]


def test_a_name_is_a_name_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (lambda row: output.rows([row], ("name",), Format.TABLE), lambda row: output.one(row, Format.TABLE)):
        shown({"name": "[red]\x1b[2Jgone\nand more"})
        said = capsys.readouterr().out
        assert "[red]" in said
        assert "\x1b" not in said
        assert "gone and more" in said


@pytest.mark.parametrize("form", [Format.JSON, Format.CSV])
def test_what_goes_to_programs_gives_a_terminal_no_commands_either(form: Format, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2Jb\x9b31mc\x7f\u00e9\nd\te"
    output.rows([{"name": name}], ("name",), form)
    said = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\x7f"} & set(said)
    read = json.loads(said) if form is Format.JSON else list(csv.DictReader(io.StringIO(said)))
    assert read == [{"name": name if form is Format.JSON else "a [2Jb 31mc \u00e9\nd\te"}]


def test_a_report_of_nothing_is_an_empty_file(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([], (), Format.CSV)
    assert not capsys.readouterr().out


def test_instants_are_told_and_counts_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([ROW | {"keys_above_days_at": 3}], ("created_at", "keys_above_days_at", "missing"), Format.CSV)
    assert capsys.readouterr().out == "created_at,keys_above_days_at,missing\n2026-11-23 10:58:22Z,3,\n"


def test_a_secret_is_said_to_be_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    output.one({"id": "key_1", "value": "sk-ih-…"}, Format.JSON)
    said = capsys.readouterr()
    assert json.loads(said.out)["value"] == "sk-ih-…"
    assert "once" in said.err
