"""A history follows from its plan: the same rows for the same seed, as many as were asked for, in its hours."""

import hashlib
from datetime import date
from typing import Any

import numpy as np
import pytest

from orchestration.history.draws import ENCODER, ENDINGS, FAILED, draw
from orchestration.history.encoding import Encoder, Words
from orchestration.history.plan import ROWS_OF_PIECE_MAX, HistoryRefused, Plan, plan, units
from orchestration.history.world import FIRST_ID, MODELS, build, microseconds

TODAY = date(2026, 7, 10)
ASKED: dict[str, Any] = {
    "rows": 6000, "months": 2, "organizations": 9, "seed": 3, "end": "2026-05", "late": 500, "twice": 200, "today": TODAY
}  # fmt: skip
SHA256 = "fd62f922c746e6d802e98a19858858fdaf392e745b4ee154f8bbb9ff299f62a0"


def _bytes(asked: Plan) -> bytes:
    world = build(asked)
    drawn = (draw(world, piece) for unit in units(asked, world.hour_weights) for piece in unit.pieces)
    return b"".join(ENCODER.encode(rows) for rows in drawn)


def test_the_same_plan_makes_the_same_bytes_everywhere() -> None:
    assert hashlib.sha256(_bytes(plan(**ASKED))).hexdigest() == SHA256


def test_another_seed_makes_other_rows() -> None:
    assert _bytes(plan(**ASKED)) != _bytes(plan(**ASKED | {"seed": 4}))


@pytest.mark.parametrize(
    "changed", [{"rows": 1}, {"rows": 7}, {"rows": 99_999}, {"late": 0}, {"late": 10_000}, {"organizations": 1}, {"months": 1}]
)
def test_there_are_as_many_rows_as_asked_for_each_in_its_own_piece(changed: dict[str, Any]) -> None:
    asked = plan(**ASKED | changed)
    pieces = [piece for unit in units(asked, build(asked).hour_weights) for piece in unit.pieces]
    assert sum(int(piece.counts.sum()) for piece in pieces) == asked.rows
    assert max(int(piece.counts.sum()) for piece in pieces) <= ROWS_OF_PIECE_MAX
    assert len({piece.key for piece in pieces}) == len(pieces)
    assert all(piece.hours.min() >= 0 and piece.hours.max() < asked.days * 24 for piece in pieces)


def test_a_second_attempt_follows_its_first_at_another_engine() -> None:
    asked = plan(**ASKED | {"rows": 60_000})
    world = build(asked)
    failovers = 0
    for unit in units(asked, world.hour_weights):
        for piece in unit.pieces:
            rows = draw(world, piece)
            second = np.flatnonzero(rows["attempt"] == 2)
            first = second - 1
            failovers += len(second)
            assert (rows["status"][first] == FAILED).all()
            assert (rows["started_at"][second] == rows["finished_at"][first]).all()
            assert (rows["engine_id"][second] != rows["engine_id"][first]).all()
            for name in ("request_id", "request_id_low", "org_id", "api_key_id", "model_id", "endpoint", "tags", "end_user"):
                assert (rows[name][second] == rows[name][first]).all(), name
    assert failovers > 100


def test_every_ending_occurs_and_every_price_version_is_used() -> None:
    asked = plan(**ASKED | {"rows": 60_000, "months": 6})
    world = build(asked)
    drawn = [draw(world, piece) for unit in units(asked, world.hour_weights) for piece in unit.pieces]
    assert set(np.concatenate([rows["status"] for rows in drawn]).tolist()) == set(range(len(ENDINGS)))
    used = set(np.concatenate([rows["price_id"] for rows in drawn]).tolist())
    in_range = world.price_from_us < microseconds(asked.ends_at)
    listed = {FIRST_ID + int(n) for n in np.flatnonzero(in_range & (world.price_org < 0))}
    assert listed <= used
    assert len(listed) > 2 * len(MODELS)


def test_rows_of_any_nulls_and_lengths_are_encoded_as_postgresql_reads_them() -> None:
    encoder = Encoder({"number": "int4", "word": Words.of([None, b"", b"abc"]), "id": "uuid"})
    columns = {
        "number": np.array([5, -1, 7]), "word": np.array([2, 0, 1]),
        "id": np.array([1, 0, 2], np.uint64), "id_low": np.array([2, 0, 3], np.uint64),
    }  # fmt: skip
    rows = [
        "0003 00000004 00000005 00000003 616263 00000010 0000000000000001 0000000000000002",
        "0003 ffffffff ffffffff ffffffff",
        "0003 00000004 00000007 00000000 00000010 0000000000000002 0000000000000003",
    ]
    assert encoder.encode(columns) == bytes.fromhex("".join(rows))
    assert encoder.encode(columns, np.array([1])) == bytes.fromhex(rows[1])


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": 0}, {"months": 0}, {"organizations": 0}, {"months": 61}, {"organizations": 20_001}, {"seed": -1},
        {"end": "2026-08"}, {"end": "2026-13"}, {"end": "soon"},
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(HistoryRefused):
        plan(**ASKED | changed)


def test_this_month_goes_up_to_yesterday() -> None:
    assert plan(**ASKED | {"end": None}).ends_at.date() == TODAY
    assert plan(**ASKED | {"end": None, "today": date(2026, 7, 1)}).ends_at.date() == date(2026, 7, 1)
