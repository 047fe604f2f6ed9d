"""The simulated engine's pure parts: tokens, faults, the ledger, settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.simulated.faults import FAULT_NAMES, Fault, FaultDraw
from engines.simulated.ledger import Ledger
from engines.simulated.settings import SimulatedSettings
from engines.simulated.tokens import BLOCK_TOKENS, PrefixCache, count, digest_of, write
from warehouse.base.errors import SettingsError


@given(st.text())
def test_a_text_never_has_more_tokens_than_bytes(text: str) -> None:
    assert count(text) <= len(text.encode())


@given(body=st.binary(max_size=64), tokens_max=st.integers(1, 200), mean=st.integers(1, 100), ignore_end=st.booleans())
def test_an_answer_is_the_same_each_time_and_within_its_limit(body: bytes, tokens_max: int, mean: int, ignore_end: bool) -> None:
    first, again = (write(digest_of(7, body), mean=mean, tokens_max=tokens_max, ignore_end=ignore_end) for _ in range(2))
    assert first == again
    assert 1 <= len(first.pieces) <= tokens_max
    assert (first.finish_reason == "length") == (ignore_end or bool(first.pieces[-1]))


def test_seed_and_body_both_change_the_answer() -> None:
    answers = {write(digest_of(seed, body), mean=50, tokens_max=100).text for seed in (1, 2) for body in (b"one", b"two")}
    assert len(answers) == 4


@given(body=st.binary(max_size=8), stop=st.sampled_from(["a", "na", "lis ", " t"]))
def test_a_stop_text_is_never_in_the_answer(body: bytes, stop: str) -> None:
    whole = write(digest_of(0, body), mean=50, tokens_max=60)
    cut = write(digest_of(0, body), mean=50, tokens_max=60, stops=(stop,))
    assert stop not in cut.text
    assert whole.text.startswith(cut.text)
    if cut != whole:
        assert (cut.finish_reason, cut.stop_reason) == ("stop", stop)
        assert stop in whole.text
        assert len(cut.pieces) <= len(whole.pieces)


def test_only_whole_blocks_at_the_head_are_cached_and_never_the_whole_prompt() -> None:
    cache = PrefixCache(1000)
    text = "x" * (4 * BLOCK_TOKENS * 3)
    tokens = count(text)
    assert cache.match(text, tokens) == (0, 3 * BLOCK_TOKENS)
    assert cache.match(text, tokens) == (2 * BLOCK_TOKENS, 0)
    assert cache.match(text + "y" * 64, tokens + 16) == (3 * BLOCK_TOKENS, BLOCK_TOKENS)
    assert cache.match("z" + text[1:], tokens) == (0, 3 * BLOCK_TOKENS)


def test_the_prefix_cache_stays_within_its_size() -> None:
    cache = PrefixCache(2)
    old, new = "o" * 128, "n" * 128
    cache.match(old, 40)
    cache.match(new, 40)
    assert cache.match(new, 40) == (2 * BLOCK_TOKENS, 0)
    assert cache.match(old, 40) == (0, 2 * BLOCK_TOKENS)
    assert PrefixCache(0).match(old, 40) == (0, 0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [("die=3", Fault("die", 3)), ("429=0.5", Fault("429", 0.5)), (" refuse ", Fault("refuse")), ("500", Fault("500"))],
)
def test_faults_are_read_as_written(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize("text", ["", "dye", "die=", "die=1.5", "die=-1", "500=3", "stall-first=soon", "stall-first=1e9"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Fault.parse(text)


def test_drawn_faults_depend_on_seed_and_arrival_and_come_as_often_as_asked() -> None:
    faults = ",".join(FAULT_NAMES)
    drawn = [FaultDraw(probability=0.25, faults=faults, seed=1).draw(arrival) for arrival in range(4000)]
    again = FaultDraw(probability=0.25, faults=faults, seed=1)
    assert drawn == [again.draw(arrival) for arrival in range(4000)]
    assert drawn != [FaultDraw(probability=0.25, faults=faults, seed=2).draw(arrival) for arrival in range(4000)]
    struck = [fault.name for fault in drawn if fault is not None]
    assert 850 < len(struck) < 1150
    assert set(struck) == set(FAULT_NAMES)
    assert FaultDraw(probability=0, faults=faults, seed=1).draw(1) is None


def test_the_ledger_forgets_the_oldest_and_never_its_tokens() -> None:
    ledger = Ledger(2)
    for number in range(5):
        entry = ledger.start(f"r{number}", "chat.completions")
        entry.prompt_tokens, entry.completion_tokens = 10, number
        ledger.end(entry, "finished")
    report = ledger.report()
    assert [entry["request_id"] for entry in report["requests"]] == ["r3", "r4"]
    assert report["totals"]["forgotten"] == 3
    assert (report["totals"]["calls"], report["totals"]["finished"]) == (5, 5)
    assert (report["totals"]["prompt_tokens"], report["totals"]["completion_tokens"]) == (50, 10)
    assert [entry["sequence"] for entry in ledger.report("r4")["requests"]] == [5]


def test_an_entry_that_ends_after_it_was_forgotten_still_counts() -> None:
    ledger = Ledger(1)
    slow = ledger.start("slow", "chat.completions")
    ledger.end(ledger.start("quick", "chat.completions"), "finished")
    slow.completion_tokens = 9
    assert ledger.report()["totals"]["completion_tokens"] == 9
    ledger.end(slow, "finished")
    totals = ledger.report()["totals"]
    assert (totals["started"], totals["finished"], totals["completion_tokens"]) == (0, 2, 9)


def test_a_flag_wins_over_a_variable() -> None:
    settings = SimulatedSettings.from_args(
        ["--seed", "2", "--force-include-usage"], {"SIMULATED_SEED": "1", "SIMULATED_MODEL": "m"}
    )
    assert (settings.seed, settings.model, settings.force_include_usage) == (2, "m", True)


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        (["--tft-ms", "1"], {}, "--ttft-ms"),
        (["--tokens-per-secnd=1"], {}, "--tokens-per-second"),
        ([], {"SIMULATED_MODLE": "x"}, "SIMULATED_MODEL"),
        (["--port", "x"], {}, "SIMULATED_PORT"),
        (["--faults", "dye"], {}, "did you mean die"),
        (["--fault-probability", "2"], {}, "SIMULATED_FAULT_PROBABILITY"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(argv: list[str], env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SimulatedSettings.from_args(argv, env)
