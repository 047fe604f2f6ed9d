"""Holds taken for many requests at once, where there is so much room that nobody can be in anybody's way.

A key that sends hundreds of requests a second need not ask Redis for each. What it asked for in the last tick is held in
advance for the next one, its requests take their holds from that, and with every tick what they have settled goes to Redis
and what nobody has taken goes back. All of it is held in Redis all the time: a budget is as strict as without leases. A
lease is at most a 200th of what is left; close to a bound every request asks for itself again.
"""

import time
from functools import partial
from operator import sub
from typing import Any

from router.inference.reservations.account import TAKEN, Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.line import Line, RedisAway
from router.inference.reservations.rate_headers import MINUTE, rate_headers
from router.inference.reservations.rules import PICOUSD_PER_USD, Match

TICK_S = 0.05
REQUESTS_MIN = 8  # of a key in one tick, from which on it gets a lease
ROOM_MIN = 200  # leases that fit into what is left; 0.5 % of it may lie in another router's lease
ENDED = 6  # numbers of each request that has ended
MORE = 3, 2  # a lease is half as much again as was asked for in the last tick


class Lease:
    """What one worker has taken in advance for the requests of one key and model."""

    __slots__ = ("_before", "cost", "ended", "free", "headers", "hold", "input", "last", "moved", "open", "output")

    def __init__(self, hold: Hold) -> None:
        self.hold = self.last = hold
        """`last`: the newest that was taken from it."""
        self.open = True
        self.headers = rate_headers(hold.match.meters, hold.answer[2])
        """What its requests are told of their limits: as they were when it was taken."""
        hold.renewed, hold.rates = self.forget_ended, hold.match.rates
        self.free = hold.requests
        """Requests that may still be taken; `cost`, `input` and `output` are what they may hold together."""
        self.cost, self.input, self.output = hold.cost_picousd, hold.input_tokens, hold.output_tokens
        self._before = self.free, self.cost, self.input, self.output
        self.ended: list[int] = []
        """Of each request that has ended since the last tick, one after the other: cost, input and output that it held, and
        that it used. They are summed up then: while a request is answered, an addition costs many times as much."""
        self.moved = 0
        """Of these, requests that are asked for anew, of another model."""

    def take(self, hold: Hold) -> bool:
        """Hold for one request. False: there is not enough here."""
        if not self.free or self.cost < hold.cost_picousd or self.input < hold.input_tokens or self.output < hold.output_tokens:
            return False
        self.free -= 1
        self.cost -= hold.cost_picousd
        self.input -= hold.input_tokens
        self.output -= hold.output_tokens
        self.last, hold.lease, hold.answer = hold, self, self.hold.answer
        hold.generation = self.hold.generation
        return True

    def taken(self) -> tuple[int, int, int, int]:
        """Requests, cost, input and output that were taken since the last call."""
        before, self._before = self._before, (self.free, self.cost, self.input, self.output)
        requests, cost, input_tokens, output_tokens = map(sub, before, self._before)
        return requests, cost, input_tokens, output_tokens

    def settle(self, hold: Hold, cost_picousd: int, input_tokens: int, output_tokens: int, requests_back: int) -> None:
        """One request has ended."""
        if requests_back:
            self.moved += requests_back
        self.ended += hold.cost_picousd, hold.input_tokens, hold.output_tokens, cost_picousd, input_tokens, output_tokens

    def forget_ended(self) -> None:
        """What has ended is in rows of an earlier number; only what goes on is told in the new generation."""
        ended, self.ended, self.moved = self.ended, [], 0
        self.hold.requests -= len(ended) // ENDED
        self.hold.cost_picousd -= sum(ended[::ENDED])

    def post(self, line: Line) -> bool:
        """Tell Redis what has ended, and give back what is free if the lease is over. True: nothing of it is left."""
        hold, ended = self.hold, self.ended
        requests, unused, moved = len(ended) // ENDED, 0, self.moved
        held, held_input, held_output, spent, used_input, used_output = (sum(ended[at::ENDED]) for at in range(ENDED))
        if not self.open:
            unused, self.free = self.free, 0
            requests, held = requests + unused, held + self.cost
            held_input, held_output = held_input + self.input, held_output + self.output
            self.cost = self.input = self.output = 0
        if requests or held or held_input or held_output:
            self.ended, self.moved = [], 0
            hold.requests -= requests
            hold.cost_picousd -= held
            if line.up:
                hold.account.touched_s = time.monotonic()  # what is sent last may be lost
                hold.account.shares.settled(hold.match, spent)
                back = max(held_input - used_input, 0), max(held_output - used_output, 0), unused + moved
                self._settle(line, held, spent, requests, back)
        return not self.open and not hold.requests

    def _settle(self, line: Line, held: int, spent: int, requests: int, back: tuple[int, int, int]) -> None:
        """Args: held, spent: pico-dollars.  requests: that are over.  back: input, output and requests that were not used."""
        hold, account = self.hold, self.hold.account
        match, of = hold.match, (0, account.org_id, hold.generation)
        money = *divmod(held, PICOUSD_PER_USD), *divmod(spent, PICOUSD_PER_USD)
        taken_from, back_here = hold.rates, back
        if taken_from is not match.rates:  # told in a new generation: the limits of now are not those that it has taken from
            line.send((*of, 0, 0, 0, 0, *back[:2], (), taken_from, 0, back[2], account.teller))
            back_here = 0, 0, 0
        line.send((*of, *money, *back_here[:2], match.fields, match.rates, requests, back_here[2], account.teller))


class Pace:
    """What the requests of one key and model have asked for since the last tick."""

    __slots__ = ("cost", "first", "input", "output", "requests")

    def __init__(self, first: Hold) -> None:
        self.requests = self.cost = self.input = self.output = 0
        self.first = first
        """Its answer, which is there by the next tick, says how much room there is."""

    def add(self, requests: int, cost: int, input_tokens: int, output_tokens: int) -> None:
        """So many more."""
        self.requests += requests
        self.cost += cost
        self.input += input_tokens
        self.output += output_tokens


def wanted(match: Match, pace: Pace) -> tuple[int, Bounds] | None:
    """How much to take in advance: (requests, all that they may use). None: too few requests, or too little room."""
    first = pace.first
    if pace.requests < REQUESTS_MIN or first.answer is None or match.on_trial:
        return None
    if first.match is not match or first.asked not in (None, match):  # the rules have changed: its answer is about others
        return None
    more, of = MORE
    requests, cost = pace.requests * more // of, pace.cost * more // of
    most = Bounds(pace.input * more // of, pace.output * more // of, cost)
    answer = first.answer
    for number, window in enumerate(match.windows):
        used = answer[4][2 * number] * PICOUSD_PER_USD + answer[4][2 * number + 1]
        if (window.limit_picousd - used) < cost * ROOM_MIN:
            return None
    for limit, level in zip(match.limits, answer[2], strict=True):
        *used_of_rates, running = level
        if limit.requests_at_once is not None and limit.requests_at_once - running < requests * ROOM_MIN:
            return None
        rates = limit.requests_per_minute, limit.input_tokens_per_minute, limit.output_tokens_per_minute
        for rate, used, asked in zip(rates, used_of_rates, (requests, most.input_tokens, most.output_tokens), strict=True):
            if rate is not None and rate * MINUTE - used < asked * ROOM_MIN * MINUTE:
                return None
    return requests, most


class Leases:
    """Those of one worker."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._paces: dict[Match, Pace] = {}
        self._leases: dict[Match, Lease] = {}
        self._ending: list[Lease] = []
        self.taken = 0
        """Requests that did not have to ask Redis."""

    def take(self, hold: Hold) -> bool:
        """Admit a request under a lease of its key, if there is one with room for it."""
        lease = self._leases.get(hold.match)
        if lease is None or not self._line.up or not lease.take(hold):
            return False
        self.taken += 1
        return True

    def note(self, hold: Hold) -> None:
        """That much was asked for, and not under a lease: what the next one is made for."""
        self._pace(hold).add(1, hold.cost_picousd, hold.input_tokens, hold.output_tokens)

    def _note_taken(self, lease: Lease) -> None:
        """The same for what was; who came after may still wait for Redis, and then does not know how much room there is."""
        taken = lease.taken()
        if taken[0]:
            pace = self._pace(lease.last)
            if pace.first.answer is None:
                pace.first = lease.last
            pace.add(*taken)

    def _pace(self, hold: Hold) -> Pace:
        pace = self._paces.get(hold.match)
        if pace is None:
            pace = self._paces[hold.match] = Pace(hold)
        return pace

    def tick(self) -> None:
        """Tell what has ended, and take for the next tick what was asked for in this one."""
        for lease in self._leases.values():
            self._note_taken(lease)
        paces, self._paces = self._paces, {}
        for match in self._leases.keys() - paces.keys():
            self._end(match)
        for match, pace in paces.items():
            asked = wanted(match, pace) if self._line.up else None
            if asked is not None:
                self._claim(pace, *asked)
            elif match in self._leases:
                self._end(match)
        for lease in self._leases.values():
            lease.post(self._line)
        self._ending = [lease for lease in self._ending if not self._is_over(lease)]

    def end(self) -> None:
        """Give everything back that nobody has taken."""
        for match in list(self._leases):
            self._end(match)
        self._ending = [lease for lease in self._ending if not self._is_over(lease)]

    def _end(self, match: Match) -> None:
        lease = self._leases.pop(match)
        self._note_taken(lease)
        lease.open = False
        self._ending.append(lease)

    def _is_over(self, lease: Lease) -> bool:
        over = lease.post(self._line)
        if over:
            lease.hold.account.holds.pop(lease.hold, None)
        return over

    def _claim(self, pace: Pace, requests: int, most: Bounds) -> None:
        first, account = pace.first, pace.first.account
        if first.match.needs_account and not account.generation:
            return
        hold = Hold.of(account, first.match, first.caller, first.model_id, first.started_at, most=most)
        hold.requests = requests
        self._line.send(hold.claim(), partial(self._answered, hold))

    def _answered(self, hold: Hold, answer: Any) -> None:
        """A lease is there from this moment on; where it is refused, or taken in an account that is no more, there is none."""
        match, account = hold.match, hold.account
        if match in self._leases:
            self._end(match)
        if isinstance(answer, RedisAway) or answer[0] != TAKEN:
            return
        if match.needs_account and hold.generation != account.generation:
            return
        hold.answer = answer
        account.holds[hold] = None
        self._leases[match] = Lease(hold)
        account.shares.told(match, answer[4], answer[5])
