"""The table, the document it is put into, the options, the peers that are locked."""

import json
from pathlib import Path

import pytest

from tests.bench.router.__main__ import DOCUMENT, PARTS, parser
from tests.bench.router.install import PORTKEY
from tests.bench.router.ours import Rows, unexplained
from tests.bench.router.peers import LITELLM, PEERS
from tests.bench.router.report import MARK, Bar, Section, marks, put_between_marks, table, written
from tests.bench.vllm_parity.__main__ import MARK as PARITY
from tests.services import ROOT

BEGIN, END = marks()


def test_columns_line_up() -> None:
    assert table(("router", "µs"), [("a", "1.0"), ("longer", "10.0")]) == (
        "| router |   µs |\n|--------|-----:|\n| a      |  1.0 |\n| longer | 10.0 |"
    )


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="other lengths"):
        table(("a", "b"), [("1",)])


def test_report_says_when_where_and_what_was_reached() -> None:
    sections = [Section("Title", ("a", "b"), (("1", "2"),), ("A note.",))]
    bars = [Bar("ratio", "0.90", "at most 1.0", reached=True), Bar("other", "2", "at most 1", reached=False)]
    text = written("2 cores", "make bench", "2026-01-02", sections, bars, ["one fell over"])
    assert text.startswith("2026-01-02, `make bench`: 2 cores.\n\none fell over.\n\n### Title\n\n| a ")
    assert "A note." in text
    assert [line.split("|")[-2].strip() for line in text.splitlines()[-2:]] == ["yes", "no"]


@pytest.mark.parametrize(
    ("answered", "after", "agree"),
    [
        (90, Rows(100, 100, 100), True),
        (85, Rows(100, 98, 98), True),  # wrk stopped in the middle of fifteen, two of which the router saw leave
        (91, Rows(100, 100, 100), False),  # a row is missing
        (74, Rows(100, 100, 100), False),  # more rows than can be explained
        (90, Rows(100, 99, 99), False),  # an answered request was not recorded as completed
        (90, Rows(100, 100, 99), False),  # a row has no price
    ],
)
def test_every_answer_is_one_priced_row(answered: int, after: Rows, agree: bool) -> None:
    assert (unexplained("part", answered, Rows(10, 10, 10), after, cut_off_max=15) == []) is agree


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for text in ("new\n", "newer\n"):
        put_between_marks(document, text)
    assert document.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}"])
def test_document_without_both_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    document = tmp_path / "document.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="needs"):
        put_between_marks(document, "new")
    assert document.read_text() == text


@pytest.mark.parametrize("name", [MARK, PARITY])
def test_document_of_the_benchmarks_has_the_marks(name: str) -> None:
    text = DOCUMENT.read_text()
    assert [text.count(mark) for mark in marks(name)] == [1, 1]


def test_everything_is_run_unless_told_otherwise() -> None:
    options = parser().parse_args([])
    assert (options.only, options.peers, options.write) == (tuple(PARTS), tuple(PEERS), False)
    assert parser().parse_args(["--peers", ""]).peers == ()
    assert parser().parse_args(["--only", "stream,memory"]).only == ("stream", "memory")


def test_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--only", "nothing"])
    assert "choose from non-stream" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["vllm-router", "smg", "litellm"])
def test_version_in_the_table_is_the_locked_one(name: str) -> None:
    lock = (ROOT / "requirements" / f"bench-{name}.txt").read_text()
    assert f"=={PEERS[name].version} \\" in next(line for line in lock.splitlines() if line.startswith((f"{name}==", f"{name}[")))


def test_litellm_is_the_same_but_for_what_it_meters() -> None:
    one, other = PEERS["litellm"], PEERS["litellm-metering"]
    assert (one.version, one.env, one.headers(1)) == (other.version, other.env, other.headers(1))
    forwarding, metering = ((LITELLM / name).read_text() for name in ("forwarding.yaml", "metering.yaml"))
    for setting in ("api_base: os.environ/UPSTREAM_URL", "master_key: os.environ/MASTER_KEY", "num_retries: 0"):
        assert setting in forwarding
        assert setting in metering
    for setting in ("custom_auth: metering.user_api_key_auth", "coordination_redis:", "callbacks: metering.rows"):
        assert setting not in forwarding
        assert setting in metering


def test_gateway_of_node_is_locked_by_hash_and_without_an_address() -> None:
    packages = json.loads((PORTKEY / "package-lock.json").read_text())["packages"]
    assert packages["node_modules/@portkey-ai/gateway"]["version"] == PEERS["portkey"].version
    assert all("integrity" in package and "resolved" not in package for name, package in packages.items() if name)
