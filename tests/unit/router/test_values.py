"""What is typed at the command, as the API takes it."""

from datetime import UTC, datetime

import pytest

from router.cli.operation import NULL, Field
from router.cli.values import instant, of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-02T10:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T10:00+01:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("20260302", datetime(2026, 3, 2, tzinfo=UTC)),
        ("+30d", datetime(2026, 3, 31, 12, tzinfo=UTC)),
        ("-1w", datetime(2026, 2, 22, 12, tzinfo=UTC)),
        ("-90m", datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
        ("1772366400", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ],
)
def test_instants(said: str, means: datetime) -> None:
    assert instant(said, NOW) == int(means.timestamp())


@pytest.mark.parametrize("said", ["", "tomorrow", "30d", "2026-13-01", "+1y", "1e9"])
def test_what_is_no_instant_says_what_to_write(said: str) -> None:
    with pytest.raises(ValueError, match="2027-01-31"):
        instant(said, NOW)


@pytest.mark.parametrize(
    ("field", "said", "means"),
    [
        (Field("x"), None, None),
        (Field("x", type="texts"), [], None),
        (Field("x", can_clear=True), "none", NULL),
        (Field("x"), "none", "none"),
        (Field("x", type="texts", can_clear=True), ["none"], NULL),
        (Field("x", type="number"), "1_000", 1000),
        (Field("x", type="numbers"), ["50", "90"], [50, 90]),
        (Field("x", type="boolean"), "false", False),
        (Field("x", type="roles"), ["proj_1:member"], [{"id": "proj_1", "role": "member"}]),
    ],
)
def test_values(field: Field, said: object, means: object) -> None:
    assert of(field, said) == means


@pytest.mark.parametrize(
    ("kind", "said"), [("number", "1.5"), ("number", "-1"), ("boolean", "yes"), ("roles", ["proj_1"]), ("numbers", ["a"])]
)
def test_what_is_no_value_says_what_is_wanted(kind: str, said: object) -> None:
    with pytest.raises(ValueError, match="wanted"):
        of(Field("x", type=kind), said)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["+999999w", "-999999w", "²", "1_0"])
def test_an_instant_that_no_clock_shows_is_refused_in_the_same_words(said: str) -> None:
    with pytest.raises(ValueError, match="2027-01-31"):
        instant(said, NOW)


@pytest.mark.parametrize(("said", "means"), [("1,000", 1000), ("12,345,678", 12_345_678), ("0", 0)])
def test_commas_are_those_of_thousands(said: str, means: int) -> None:
    assert of(Field("x", type="number"), said) == means


@pytest.mark.parametrize("said", ["2,5", "0,50", "1,0000", ",1", "1,", "٣"])
def test_a_comma_before_decimals_is_not_left_out(said: str) -> None:
    with pytest.raises(ValueError, match="a whole number is wanted"):
        of(Field("x", type="number"), said)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("project_id"), ""),
        (Field("expires_at", type="instant", can_clear=True), ""),
        (Field("name", required=True), ""),
        (Field("models", type="texts", can_clear=True), ["m", ""]),
    ],
)
def test_an_empty_value_is_not_taken_for_none(field: Field, said: object) -> None:
    with pytest.raises(ValueError, match="it is empty"):
        of(field, said)
