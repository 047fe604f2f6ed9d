"""A final invoice and the same month drafted anew: any line that differs is a difference, of its organization alone."""

import pytest

from orchestration.replay.comparing import Lines, invoice_digests

FROZEN: Lines = {
    ("org_a", "il_1"): ("10", "1000", "aa"),
    ("org_a", "il_2"): ("20", "-500", None),  # a discount has no rows
    ("org_b", "il_1"): ("7", "70", "bb"),
}


def _different(frozen: Lines, drafted: Lines) -> list[str]:
    final, anew = invoice_digests(frozen, drafted)
    assert final.keys() == anew.keys()
    return [name for name in final if final[name] != anew[name]]


@pytest.mark.parametrize(
    "line", [("11", "1000", "aa"), ("10", "1001", "aa"), ("10", "1000", "ab"), ("0", "0", "aa")],
    ids=["quantity", "pico-dollars", "rows", "gone"],
)  # fmt: skip
def test_a_line_that_differs_is_a_difference_of_its_organization(line: tuple[str, str, str]) -> None:
    assert _different(FROZEN, dict(FROZEN)) == []
    assert _different(FROZEN, FROZEN | {("org_a", "il_1"): line}) == ["invoice of org_a"]


def test_a_line_that_is_only_in_one_is_a_difference() -> None:
    assert _different(FROZEN, FROZEN | {("org_b", "il_3"): ("1", "1", "cc")}) == ["invoice of org_b"]
    assert _different(FROZEN, {key: line for key, line in FROZEN.items() if key[0] == "org_a"}) == ["invoice of org_b"]


def test_an_adjusted_line_is_compared_by_its_sums() -> None:
    """It has two sets of rows, and its draft one."""
    adjusted = FROZEN | {("org_a", "il_1"): ("10", "1000", None)}
    assert _different(adjusted, FROZEN) == []
    assert _different(adjusted, FROZEN | {("org_a", "il_1"): ("10", "999", "aa")}) == ["invoice of org_a"]


def test_what_is_not_final_and_lines_that_came_to_nothing_are_not_compared() -> None:
    drafted = FROZEN | {("org_c", "il_1"): ("5", "5", "dd"), ("org_a", "il_9"): ("0", "0", None)}
    assert _different(FROZEN, drafted) == []
