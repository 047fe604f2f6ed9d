"""The rows of some hours, as columns: seeded, so that the same piece of the same plan is the same to the last bit.

Chance comes as whole numbers, and what is not uniform is looked up in tables of whole numbers: no row depends on how a processor
rounds a logarithm.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestration.history.encoding import Encoder, Words
from orchestration.history.plan import Numbers, Piece
from orchestration.history.world import ENGINES_A_MODEL, FIRST_ID, MODELS, US_A_HOUR, World, microseconds

_DRAWS = 65_536
_US_FROM_1970_TO_2000 = 946_684_800_000_000
_STRAY = 0.06
_DURATION_US_MAX = 1_800_000_000
Draws = NDArray[Any]  # of uint16

ENDPOINTS = Words.of([b"chat.completions", b"responses", b"completions", b"messages", b"embeddings", b"rerank"])
_ENDPOINT_SHARES = {"chat": (80, 8, 6, 6, 0, 0), "embedding": (0, 0, 0, 0, 1, 0), "rerank": (0, 0, 0, 0, 0, 1)}

# How a row ends: share in 65,536, status, charge class, source of the counts, HTTP status, error code. The first is the usual.
ENDINGS: Sequence[tuple[int, bytes, bytes, bytes, int, bytes | None]] = (
    (0, b"completed", b"charged", b"engine", 200, None),
    (980, b"client_closed", b"charged", b"running", 499, b"client_closed"),
    (620, b"refused", b"free_refused", b"none", 429, b"rate_limit_exceeded"),
    (130, b"refused", b"free_refused", b"none", 429, b"budget_used_up"),
    (260, b"refused", b"free_refused", b"none", 404, b"model_not_found"),
    (420, b"engine_failed", b"free_engine_failed", b"none", 502, b"engine_hung_up"),
    (230, b"timed_out", b"free_timed_out", b"none", 504, b"engine_timed_out"),
    (25, b"router_lost", b"free_router_lost", b"none", 500, b"router_lost"),
    (60, b"completed", b"charged", b"estimate", 200, None),
)
COMPLETED, CLOSED, LIMITED, BUDGET, UNKNOWN_MODEL, FAILED, TIMED_OUT, LOST, ESTIMATED = range(9)
_REFUSED = (LIMITED, BUDGET, UNKNOWN_MODEL)
_FINISHES = (b"stop", b"length", b"tool_calls", None)
_NO_FINISH = 3
_TAGS: Sequence[bytes | None] = (
    None, b'{"team":"search"}', b'{"team":"support"}', b'{"team":"data","batch":"nightly"}', b'{"feature":"summary"}',
    b'{"feature":"autocomplete"}', b'{"stage":"test"}',
)  # fmt: skip
_ASKED: Sequence[bytes | None] = (None, b"default", b"gpt-4o-mini", b"demo-chat-old")
_END_USERS = 4096

ENCODER = Encoder({
    "request_id": "uuid", "trace_id": "uuid", "started_at": "int8", "finished_at": "int8", "org_id": "int8",
    "project_id": "int8", "api_key_id": "int8", "user_id": "int8", "service_account_id": "int8", "cost_picousd": "int8",
    "endpoint": ENDPOINTS, "status": Words.of([ending[1] for ending in ENDINGS]), "finish_reason": Words.of(_FINISHES),
    "token_source": Words.of([ending[3] for ending in ENDINGS]),
    "charge_class": Words.of([ending[2] for ending in ENDINGS]),
    "model_id": "int4", "engine_id": "int4", "price_id": "int4", "input_tokens": "int4", "cached_input_tokens": "int4",
    "output_tokens": "int4", "reasoning_tokens": "int4", "queue_us": "int4", "ttft_us": "int4", "duration_us": "int4",
    "overhead_us": "int4", "attempt": "int2", "http_status": "int2", "stream": "bool", "model_asked": Words.of(_ASKED),
    "error_code": Words.of([ending[5] for ending in ENDINGS]),
    "end_user": Words.of([None, *(b"customer-%05d" % number for number in range(_END_USERS))]),
    "tags": Words.of([tags and b"\x01" + tags for tags in _TAGS]),  # jsonb's binary form: a version, then JSON
})  # fmt: skip
Rows = dict[str, NDArray[Any]]


def _log_normal(median: float, spread: float) -> Numbers:
    """A table of 65,536 equally likely values. `spread`: of the logarithm."""
    normal = NormalDist()
    # One value in 64 is computed: a table of all takes a second, and the tail needs no more.
    points = [median * math.exp(spread * normal.inv_cdf((number + 0.5) / (_DRAWS // 64))) for number in range(_DRAWS // 64)]
    return np.repeat(np.array(points, np.int64), 64)


def _shares(parts: Sequence[int], draws: int) -> NDArray[Any]:
    """A table of the numbers of parts, each as often as its part says."""
    reached = np.cumsum(np.array(parts, np.int64)) * draws // sum(parts)
    return np.searchsorted(reached, np.arange(draws), side="right").astype(np.int8)


_ENDPOINT = np.stack([_shares(_ENDPOINT_SHARES[model.kind], 256) for model in MODELS])
_INPUT = np.stack([np.clip(_log_normal(model.input_tokens, 1.1), 1, 120_000) for model in MODELS])
_OUTPUT = np.stack(
    [np.clip(_log_normal(model.output_tokens or 1, 0.9), 1, 8_000) * bool(model.output_tokens) for model in MODELS]
)
_TTFT = np.stack([_log_normal(model.ttft_us, 0.5) for model in MODELS])
_TOKEN_US = np.stack([_log_normal(model.token_us, 0.2) for model in MODELS])
_OVERHEAD, _WAIT = _log_normal(900, 0.4), _log_normal(40_000, 1.3)
_ENDING = _shares([_DRAWS - sum(ending[0] for ending in ENDINGS), *(ending[0] for ending in ENDINGS[1:])], _DRAWS)
_FAILOVER_BELOW = 360  # of 65,536 rows: as many are a first attempt that another engine makes good
_IS_CHAT = np.array([model.kind == "chat" for model in MODELS])
_REASONS = np.array([model.reasons for model in MODELS])
_HTTP = np.array([ending[4] for ending in ENDINGS])


def draw(world: World, piece: Piece) -> Rows:
    """Columns of `ENCODER`, in the order of time; of a request that failed over, the second attempt follows the first."""
    chance = np.random.Generator(np.random.PCG64([world.plan.seed, 2, *piece.key]))
    count = int(piece.counts.sum())
    draws = chance.integers(0, _DRAWS, (18, count), np.uint16)
    hours = np.repeat(piece.hours, piece.counts)
    within = chance.integers(0, US_A_HOUR, count)
    started = np.sort(microseconds(world.plan.starts_at) + hours * US_A_HOUR + within)
    first, second = _failovers(draws[0])
    source = np.arange(count) - second  # a second attempt is of the caller of the first
    caller = _caller(world, world.hour_of_week(hours), chance.random((3, count)), draws, source)
    model, endpoint_draw = caller.pop("model"), caller.pop("endpoint draw")
    ending = np.where(first, FAILED, np.where(second, COMPLETED, _ENDING[draws[1]]))
    endpoint = _ENDPOINT[model, endpoint_draw]
    stream = _IS_CHAT[model] & (draws[3][source] < 45_000)
    ending = np.where((ending == CLOSED) & ~stream, COMPLETED, ending)
    rows = caller | {"endpoint": endpoint, "stream": stream, "http_status": _HTTP[ending]}
    rows |= dict.fromkeys(("status", "token_source", "charge_class", "error_code"), ending)
    rows |= _work(model, ending, stream, draws, source)
    duration = rows["duration_us"].astype(np.int64)
    started = np.where(second, started[source] + duration[source], started)
    rows |= _names(chance, started[source], draws, source)
    rows |= {"started_at": started, "finished_at": started + duration}
    refused = np.isin(ending, _REFUSED)
    rows["attempt"] = np.where(refused, 0, 1 + second)
    unknown = ending == UNKNOWN_MODEL
    rows["model_id"] = np.where(unknown, -1, FIRST_ID + model)
    rows["model_asked"] = np.where(unknown, 3, np.where(draws[16][source] < 1_500, 1 + (draws[16][source] & 1), 0))
    engine = FIRST_ID + model * ENGINES_A_MODEL + (draws[17][source] + second) % ENGINES_A_MODEL
    rows["engine_id"] = np.where(refused, -1, engine)
    rows |= _price(world, caller["org_id"] - FIRST_ID, model, ending, rows)
    return rows


def _failovers(draws: Draws) -> tuple[NDArray[Any], NDArray[Any]]:
    """(first attempts, second attempts): pairs of neighbours."""
    first = draws < _FAILOVER_BELOW
    first[-1:] = False
    first[1:] &= ~first[:-1]
    second = np.zeros_like(first)
    second[1:] = first[:-1]
    return first, second


def _caller(world: World, hour_of_week: Numbers, chance: NDArray[Any], draws: Draws, source: Numbers) -> Rows:
    """Whose a row is, and what it asks: the larger an organization and the busier its hour, the more often."""
    org = np.searchsorted(world.org_reached, hour_of_week + chance[0], side="right") - hour_of_week * world.organizations
    org = np.minimum(org, world.organizations - 1)[source]
    first, last = world.key_first[org], world.key_first[org + 1]
    key = first + (chance[2][source] ** 2 * (last - first)).astype(np.int64)
    user, account = world.key_user[key], world.key_account[key]
    strays = chance[1][source] < _STRAY  # a key is an application's: it asks one model by one endpoint, nearly always
    return {
        "model": np.where(strays, draws[5][source] % len(MODELS), world.key_model[key]),
        "endpoint draw": np.where(strays, draws[2][source] >> 8, world.key_endpoint[key]),
        "org_id": FIRST_ID + org,
        "project_id": FIRST_ID + world.key_project[key],
        "api_key_id": FIRST_ID + key,
        "user_id": np.where(user < 0, -1, FIRST_ID + user),
        "service_account_id": np.where(account < 0, -1, FIRST_ID + account),
        "end_user": np.where(draws[4][source] < 19_000, 1 + (org * 31 + draws[5][source] % 97) % _END_USERS, 0),
        "tags": np.where(draws[6][source] < 10_000, 1 + (org + draws[7][source] % 3) % (len(_TAGS) - 1), 0),
    }


def _work(model: Numbers, ending: Numbers, stream: NDArray[Any], draws: Draws, source: Numbers) -> Rows:
    """Tokens and times. Refused or failed: no tokens; left early: those that the engine had counted by then."""
    answered = (ending == COMPLETED) | (ending == ESTIMATED)
    counted = answered | (ending == CLOSED)
    input_tokens = _INPUT[model, draws[8][source]]
    cached = np.where(_IS_CHAT[model] & (draws[9] < 22_000), input_tokens * (draws[9] & 255) >> 8, 0)
    output = _OUTPUT[model, draws[10]]
    output = np.where(ending == CLOSED, 1 + (output * (draws[11] & 255) >> 8), output)
    wait = np.where(draws[12] < 9_000, _WAIT[draws[13]], 0)
    ttft = _TTFT[model, draws[13]] + (input_tokens - cached) * 18 + wait
    lasts = np.where(_IS_CHAT[model], ttft + output * _TOKEN_US[model, draws[14]], 8_000 + input_tokens * 11)
    refused, some = np.isin(ending, _REFUSED), draws[14].astype(np.int64)
    lasts = np.where(refused, 400 + some // 32, lasts)
    lasts = np.where(ending == TIMED_OUT, 120_000_000 + some, lasts)
    lasts = np.where(ending == FAILED, 20_000 + some * 6, lasts)
    lasts = np.where(ending == LOST, 0, lasts)
    finish = np.where(_IS_CHAT[model] & answered, _FINISH[draws[15] >> 8], _NO_FINISH)
    engaged = ~refused & (ending != LOST)
    return {
        "input_tokens": np.where(counted, input_tokens, 0),
        "cached_input_tokens": np.where(counted, cached, 0),
        "output_tokens": np.where(counted, output, 0),
        "reasoning_tokens": np.where(counted & _REASONS[model], output * (draws[15] & 127) >> 7, 0),
        "queue_us": np.where(engaged, wait, -1),
        "ttft_us": np.where(counted & stream, ttft, -1),
        "duration_us": np.minimum(lasts, _DURATION_US_MAX),
        "overhead_us": np.where(engaged, _OVERHEAD[draws[15]], -1),
        "finish_reason": finish,
    }


_FINISH = _shares((86, 9, 5), 256)


def _names(chance: np.random.Generator, started: Numbers, draws: Draws, source: Numbers) -> Mapping[str, NDArray[Any]]:
    """UUIDv7 of requests, and W3C trace ids of two in five. Source: RFC 9562, section 5.7."""
    bits = chance.integers(0, 2**62, (4, len(started)), np.uint64)[:, source]
    ms = ((started + _US_FROM_1970_TO_2000) // 1000).astype(np.uint64)
    traced = draws[0][source] % 5 < 2
    return {
        "request_id": ms << np.uint64(16) | np.uint64(0x7000) | bits[0] & np.uint64(0xFFF),
        "request_id_low": np.uint64(1 << 63) | bits[1],
        "trace_id": np.where(traced, bits[2] + np.uint64(1), np.uint64(0)),
        "trace_id_low": np.where(traced, bits[3], np.uint64(0)),
    }


def _price(world: World, org: Numbers, model: Numbers, ending: Numbers, rows: Rows) -> Rows:
    """The version in force at the row's start: the organization's own before the list's; and the exact cost at it."""
    at = rows["started_at"].astype(np.int64)
    is_list = world.price_org < 0
    # Versions of a model lie side by side: one search in the order of (model, first instant) finds each row's.
    order = world.price_model[is_list] * 2**53 + world.price_from_us[is_list]
    price = np.searchsorted(order, model * 2**53 + at, side="right") - 1
    own = world.override[org, model]
    price = np.where((own >= 0) & (world.price_from_us[own] <= at), own, price)
    charged = (ending == COMPLETED) | (ending == CLOSED) | (ending == ESTIMATED)
    picousd = world.price_picousd[price]
    input_tokens, cached, output = (
        rows[name].astype(np.int64) for name in ("input_tokens", "cached_input_tokens", "output_tokens")
    )
    cost = (input_tokens - cached) * picousd[:, 0] + cached * picousd[:, 1] + output * picousd[:, 2]
    return {"price_id": np.where(charged, FIRST_ID + price, -1), "cost_picousd": np.where(charged, cost, 0)}
