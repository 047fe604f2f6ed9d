"""Where the cache of a session or of a prompt's beginning is: the same for every worker, bounded, and below the load cap."""

from collections import Counter
from dataclasses import dataclass
from zlib import crc32

import pytest

from router.inference.affinity import SESSION, Affinity, key_of, mixed, preferred, seed_of

PROMPT = b"x" * 256


@dataclass
class Placed:
    id: int
    weight: int = 1
    tokens: int = 0
    requests: int = 0

    @property
    def seed(self) -> int:
        return seed_of(f"engine-{self.id}")


def engines(*weights: int) -> list[Placed]:
    return [Placed(number, weight) for number, weight in enumerate(weights, 1)]


def test_a_key_is_of_one_organization_and_says_whether_it_is_of_a_session() -> None:
    session, prefix = key_of(7, "s", PROMPT), key_of(7, None, PROMPT)
    assert (session & SESSION, prefix & SESSION, session >> 32 & 0xFFFF, prefix >> 32) == (SESSION, 0, 7, 7)
    assert session & 0xFFFFFFFF == crc32(b"s", 7)
    assert prefix & 0xFFFFFFFF == crc32(PROMPT, 7)
    assert key_of(7, "\ud800", b"") & SESSION, "half of a character is as good a name as any"
    assert len({key_of(org_id, name, PROMPT) for org_id in (7, 8) for name in ("s", "t", None)}) == 6
    assert key_of(7, "", PROMPT) == prefix, "no name is none"


def test_a_beginning_counts_from_256_bytes_to_1024() -> None:
    assert key_of(1, None, PROMPT[:255]) == 0
    assert key_of(1, None, PROMPT) != 0
    assert key_of(1, None, PROMPT * 4 + b"a") == key_of(1, None, PROMPT * 4 + b"b")
    assert key_of(1, None, PROMPT * 4) != key_of(1, None, PROMPT * 3 + PROMPT[:255] + b"b")


def test_bits_are_mixed_as_by_splitmix64_so_that_all_versions_agree() -> None:
    """Vectors of the reference implementation (Vigna, splitmix64.c), seeded with 0: the state grows by the golden gamma."""
    gamma = 0x9E3779B97F4A7C15
    assert [mixed(gamma * number) for number in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mixed(2**64 + gamma) == mixed(gamma)
    assert seed_of("engine-1") == mixed(crc32(b"engine-1") + (crc32(b"engine-1", 7) << 32))


def test_homes_are_shared_out_by_weight_and_only_a_newcomer_takes_some() -> None:
    three = engines(1, 2, 5)
    homes = [preferred(key_of(1, f"s{number}", b""), three).id for number in range(8000)]
    assert [Counter(homes)[engine.id] / 1000 for engine in three] == pytest.approx([1, 2, 5], rel=0.1)
    four = [*three, Placed(4, 2)]
    moved = [preferred(key_of(1, f"s{number}", b""), four).id for number in range(8000)]
    assert {new for old, new in zip(homes, moved, strict=True) if old != new} == {4}


def test_what_was_somewhere_stays_there_until_it_fails() -> None:
    affinity, all_of_them, key = Affinity(), engines(1, 1, 1), key_of(1, "s", b"")
    home = affinity.choose("m", key, all_of_them)
    assert home is not None
    other, third = (engine for engine in all_of_them if engine is not home)
    affinity.note("m", key, other.id)
    assert affinity.choose("m", key, all_of_them) is other
    assert affinity.choose("another", key, all_of_them) is home, "of each model for itself"
    assert affinity.choose("m", key, [home, third]) is preferred(key, [home, third])
    affinity.forget("m", key, third.id)
    affinity.forget("m", key, home.id)
    assert affinity.choose("m", key, all_of_them) is other, "those had it only for once: a canary, or for the load"
    affinity.forget("m", key, other.id)
    assert affinity.choose("m", key, all_of_them) is home
    affinity.note("m", key, home.id)
    affinity.forget("m", key, home.id)
    assert affinity.choose("m", key, all_of_them) is preferred(key, [other, third])
    assert affinity.choose("m", key, [home]) is home, "there is no other"


def test_the_least_recently_used_is_forgotten_first() -> None:
    affinity, all_of_them = Affinity(2), engines(1, 1)
    for key in (1, 2, 1, 3):
        affinity.note("m", key, 3 - preferred(key, all_of_them).id)
    assert len(affinity) == 2
    at_home = [affinity.choose("m", key, all_of_them) is preferred(key, all_of_them) for key in (1, 2, 3)]
    assert at_home == [False, True, False]
    assert Affinity()._entries_max == 50_000


@pytest.mark.parametrize(
    ("requests", "tokens", "others", "weights", "is_home"),
    [
        (4, 500, 300, (1, 1), True),
        (4, 501, 300, (1, 1), False),
        (3, 501, 300, (1, 1), True),
        (4, 1500, 100, (3, 1), True),
        (4, 1500, 90, (3, 1), False),
        (4, 501, 500, (1, 2), False),
        (4, 100, 0, (1,), True),
    ],
)
def test_an_engine_above_a_quarter_more_than_its_share_is_passed_over(
    requests: int, tokens: int, others: int, weights: tuple[int, ...], is_home: bool
) -> None:
    affinity, all_of_them = Affinity(), engines(*weights)
    affinity.note("m", 5, 1)
    all_of_them[0].requests, all_of_them[0].tokens = requests, tokens
    for engine in all_of_them[1:]:
        engine.tokens = others
    assert affinity.choose("m", 5, all_of_them) is (all_of_them[0] if is_home else None)
