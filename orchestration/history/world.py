"""Who and what a history is of: organizations in their zones, projects, people, keys, models, prices and engines.

Everything follows from the plan, ids included: they are given from `FIRST_ID` on, which no sequence of an installation reaches.
Nobody can use the keys (their hash is of no secret), and the models are retired, so that no router offers them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from orchestration.history.plan import HOURS_A_DAY, Numbers, Plan

FIRST_ID = 1_000_000_000
HOURS_A_WEEK = 168
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
US_A_HOUR = 3_600_000_000
# Whole, half and quarter hours from UTC, with daylight saving time in either half of the year and without.
ZONES = (
    "America/New_York", "Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles", "Asia/Tokyo", "Australia/Adelaide",
    "Europe/London", "America/Sao_Paulo", "Asia/Kathmandu", "America/St_Johns", "UTC", "Pacific/Chatham",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """What it is asked, how it answers, and what it costs at first: pico-dollars per input, cached and output token."""

    name: str
    kind: str
    share: float
    prices: tuple[int, int, int]
    input_tokens: int
    output_tokens: int
    ttft_us: int
    token_us: int
    reasons: bool = False


MODELS = (
    Model("demo-chat-small", "chat", 0.34, (100_000, 50_000, 400_000), 620, 140, 90_000, 6_000),
    Model("demo-chat-large", "chat", 0.22, (600_000, 300_000, 2_400_000), 1_400, 260, 240_000, 16_000),
    Model("demo-coder", "chat", 0.16, (300_000, 75_000, 1_200_000), 4_800, 320, 310_000, 11_000),
    Model("demo-reasoning", "chat", 0.08, (1_100_000, 275_000, 4_400_000), 900, 1_500, 420_000, 13_000, reasons=True),
    Model("demo-embedding", "embedding", 0.16, (20_000, 20_000, 0), 310, 0, 0, 0),
    Model("demo-rerank", "rerank", 0.04, (25_000, 25_000, 0), 2_100, 0, 0, 0),
)
ENGINES_A_MODEL = 3


@dataclass(frozen=True, slots=True)
class World:
    """Arrays by number: an organization, key, model or price is called by its place, and its id is FIRST_ID more."""

    plan: Plan
    zone: Sequence[str]
    project_org: Numbers
    user_org: Numbers
    key_org: Numbers
    key_project: Numbers
    key_user: Numbers
    """-1: the key of a service account, or of nobody."""
    key_account: Numbers
    """-1 where there is none."""
    key_first: Numbers
    """By organization."""
    price_model: Numbers
    price_org: Numbers
    """-1: a list price."""
    price_from_us: Numbers
    """Since EPOCH; 0 for the first of a model."""
    price_until_us: Numbers
    """-1: without end."""
    price_picousd: Numbers
    """(prices, 3): input, cached input, output."""
    override: Numbers
    """(organizations, models): its own price, or -1."""
    hour_weights: Numbers
    """(days * 24,)"""
    org_reached: NDArray[Any]
    """(168 * organizations,): cumulated shares of an hour of the week, UTC, plus the hour's number."""
    key_model: Numbers
    """Which model a key is for, which most of its requests ask."""
    key_endpoint: Numbers
    """A draw that decides by which endpoint most of its requests come."""
    account_org: Numbers
    account_project: Numbers

    @property
    def organizations(self) -> int:
        return self.plan.organizations

    def hour_of_week(self, hours: Numbers) -> Numbers:
        """UTC hour of the week, Monday first, of hours counted from the plan's beginning."""
        return (hours + self.plan.first_day.weekday() * HOURS_A_DAY) % HOURS_A_WEEK


def build(plan: Plan) -> World:
    """The world of a plan."""
    chance = np.random.Generator(np.random.PCG64([plan.seed, 1]))
    zone = [ZONES[number % len(ZONES)] for number in range(plan.organizations)]
    org_reached, week = _activity(plan, zone, chance)
    prices = _prices(plan, chance)
    return World(
        plan=plan,
        zone=zone,
        **_people(plan, chance),
        **prices,
        hour_weights=_hour_weights(plan, week, chance),
        org_reached=org_reached,
    )


def microseconds(at: datetime) -> int:
    """Since EPOCH."""
    return (at - EPOCH) // MICROSECOND


def _activity(plan: Plan, zone: Sequence[str], chance: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """(`org_reached`, how busy each UTC hour of the week is)."""
    hours = np.arange(HOURS_A_WEEK)
    hour, weekday = hours % HOURS_A_DAY, hours // HOURS_A_DAY
    office = np.where((hour >= 8) & (hour < 19), 10, np.where((hour >= 6) & (hour < 23), 3, 1)) * np.where(weekday < 5, 5, 1)
    machines = np.where(hour < 5, 40, 22)  # nightly jobs, every day
    # Zipf: the first of a hundred organizations makes a fifth of the traffic.
    size = 1 / (np.arange(plan.organizations) + 1.5)
    at = plan.starts_at
    offsets = {name: round(ZoneInfo(name).utcoffset(at).total_seconds() / 3600) for name in ZONES}  # type: ignore[union-attr]
    offset = np.array([offsets[name] for name in zone])
    local = (hours[:, None] + offset[None, :]) % HOURS_A_WEEK
    works_at_night = chance.random(plan.organizations) < 0.3
    shares = size * np.where(works_at_night, machines[local], office[local])
    reached = np.cumsum(shares, axis=1)
    week = reached[:, -1].copy()
    reached /= week[:, None]
    reached[:, -1] = 1
    return (reached + hours[:, None]).ravel(), week


def _hour_weights(plan: Plan, week: NDArray[Any], chance: np.random.Generator) -> Numbers:
    """Seasons of day and week, growth of a twelfth a month, and days that differ."""
    days = np.arange(plan.days)
    busy = (1 + days / 365) * (0.85 + 0.3 * chance.random(plan.days))
    hours = np.arange(plan.days * HOURS_A_DAY)
    of_week = (hours + plan.first_day.weekday() * HOURS_A_DAY) % HOURS_A_WEEK
    weights: Numbers = (week[of_week] / week.max() * busy[hours // HOURS_A_DAY] * 1_000_000).astype(np.int64) + 1
    return weights


def _people(plan: Plan, chance: np.random.Generator) -> dict[str, Numbers]:
    """Projects, people and keys: more for larger organizations, at least one of each."""
    orgs = np.arange(plan.organizations)
    projects = 1 + (chance.random(plan.organizations) * 4).astype(np.int64)
    people = 2 + (chance.random(plan.organizations) * 6).astype(np.int64)
    keys = projects + (chance.random(plan.organizations) * 5).astype(np.int64)
    project_org, user_org, key_org = np.repeat(orgs, projects), np.repeat(orgs, people), np.repeat(orgs, keys)
    project_first, user_first, key_first = (np.cumsum(each) - each for each in (projects, people, keys))
    nth = np.arange(len(key_org)) - key_first[key_org]
    key_project = project_first[key_org] + nth % projects[key_org]
    owner = chance.random(len(key_org))
    key_user = np.where(owner < 0.5, user_first[key_org] + nth % people[key_org], -1)
    of_account = owner >= 0.65
    reached = np.cumsum([model.share for model in MODELS[:-1]])
    key_account = np.where(of_account, np.cumsum(of_account) - 1, -1)
    return {
        "project_org": project_org,
        "user_org": user_org,
        "key_org": key_org,
        "key_project": key_project,
        "key_user": key_user,
        "key_account": key_account,
        "key_first": np.append(key_first, len(key_org)),
        "key_model": np.searchsorted(reached, chance.random(len(key_org)), side="right"),
        "key_endpoint": chance.integers(0, 256, len(key_org)),
        "account_org": key_org[of_account],
        "account_project": key_project[of_account],
    }


def _prices(plan: Plan, chance: np.random.Generator) -> dict[str, Numbers]:
    """List prices that change every two months, at some hour of some day, and prices of every seventh organization."""
    rows: list[tuple[int, int, int, int, tuple[int, ...]]] = []
    start = microseconds(plan.starts_at)
    for number, model in enumerate(MODELS):
        changes = [start + (day * 24 + 13) * US_A_HOUR for day in range(11 + 7 * number, plan.days, 61)]
        picousd: tuple[int, ...] = model.prices
        for since, until in zip([0, *changes], [*changes, -1], strict=True):
            rows.append((number, -1, since, until, picousd))
            percent = 92 + int(chance.integers(0, 17))
            picousd = tuple(price * percent // 100 for price in picousd)
    override = np.full((plan.organizations, len(MODELS)), -1, np.int64)
    for org in range(3, plan.organizations, 7):
        number = org // 7 % len(MODELS)
        since = start + int(chance.integers(0, plan.days)) * 24 * US_A_HOUR
        override[org, number] = len(rows)
        rows.append((number, org, since, -1, tuple(price * 4 // 5 for price in MODELS[number].prices)))
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    names = ("price_model", "price_org", "price_from_us", "price_until_us", "price_picousd")
    return dict(zip(names, columns, strict=True)) | {"override": override}
