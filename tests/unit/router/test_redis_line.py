"""The connection to Redis."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import msgspec
import pytest

from router.inference.reservations import line
from tests.routing_world import in_loop

TRIES = 5
PATIENCE_S = 30


class SlowRedis:
    """Answers its scripts when it is told to; a claim by its own number."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[Any, ...]]] = []
        """Of each command that came: its operations, or the one command of `accounts.lua`."""
        self.came = asyncio.Condition()
        self._to: asyncio.StreamWriter | None = None
        self._unanswered: list[bytes] = []
        self._began = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parsed = hiredis.Reader()
        self._to, self._unanswered = writer, []
        try:
            while data := await reader.read(65536):
                parsed.feed(data)
                while (command := parsed.gets()) is not False:
                    await self._take(command)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def hang_up(self) -> None:
        assert self._to is not None
        self._to.transport.abort()

    async def _take(self, command: list[bytes]) -> None:
        assert self._to is not None
        if command[0] != b"EVALSHA" or not self._began:
            self._began = command[0] == b"EVALSHA"
            self._to.write(b"$15\r\nrun_id:12345678\r\n")
            return
        argument = msgspec.msgpack.decode(command[3])
        operations = argument if isinstance(argument[0], list) else [argument]
        numbers = [operation[1] for operation in operations if operation[0] == "claim"]
        answer = msgspec.msgpack.encode(numbers if operations is argument else argument)
        self._unanswered.append(b"$%d\r\n%b\r\n" % (len(answer), answer))
        async with self.came:
            self.asked.append(operations)
            self.came.notify_all()

    async def has(self, commands: int) -> None:
        """Wait until so many have come."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.asked) >= commands)

    def answer(self, commands: int = 1) -> None:
        assert self._to is not None
        for _ in range(commands):
            self._to.write(self._unanswered.pop(0))


class Told:
    """What callers were answered."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self._more = asyncio.Event()

    def __call__(self, answer: Any) -> None:
        self.answers.append(answer)
        self._more.set()

    async def has(self, count: int) -> None:
        while len(self.answers) < count:
            self._more.clear()
            await self._more.wait()


class Clock:
    """In place of the module `time`."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of the line alone, which looks at it often."""
    monkeypatch.setattr(line, "CHECK_S", 0.01)
    clock = Clock()
    monkeypatch.setattr(line, "time", clock)
    return clock


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[SlowRedis, line.Line]]:
    redis = SlowRedis()
    async with await asyncio.start_server(redis.serve, "127.0.0.1") as server, asyncio.timeout(PATIENCE_S):
        of = line.Line(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: None)
        async with of.running():
            await of.connected.wait()
            yield redis, of


async def ask_by_turns(of: line.Line, numbers: range, told: Told) -> None:
    """One claim in each turn of the event loop, with a settlement, which has no answer."""
    for number in numbers:
        of.send(("settle", -number))
        of.send(("claim", number), told)
        await asyncio.sleep(0)


@in_loop
async def test_a_redis_behind_tls_that_is_away_has_no_certificates_read_anew_by_each_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes tens of milliseconds, in which the worker does nothing else."""
    made, tries = [], 0
    enough = asyncio.Event()
    real = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(real())
        return made[-1]

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        if tries == TRIES:
            enough.set()
        writer.close()

    monkeypatch.setattr("ssl.create_default_context", counted)
    monkeypatch.setattr(line, "RECONNECT_S", 0.01)
    async with await asyncio.start_server(refuse, "127.0.0.1") as server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        async with line.Line(f"rediss://127.0.0.1:{port}", lambda: None).running():
            await enough.wait()
    assert len(made) <= 1


@in_loop
async def test_what_a_redis_that_is_behind_has_not_got_yet_goes_together() -> None:
    async with connected() as (redis, of):
        told = Told()
        count = line.COMMANDS_MAX + 2 * line.TOGETHER
        await ask_by_turns(of, range(count), told)
        await redis.has(line.COMMANDS_MAX)
        assert [len(operations) for operations in redis.asked] == [2] * line.COMMANDS_MAX
        redis.answer(line.COMMANDS_MAX)
        await redis.has(line.COMMANDS_MAX + 4)
        assert [len(operations) for operations in redis.asked[line.COMMANDS_MAX :]] == [line.TOGETHER] * 4
        redis.answer(4)
        await ask_by_turns(of, range(count, count + 1), told)
        await redis.has(line.COMMANDS_MAX + 5)
        redis.answer()
        await told.has(count + 1)
        assert told.answers == list(range(count + 1))
        flat = [tuple(operation) for operations in redis.asked for operation in operations]
        assert flat == [pair for number in range(count + 1) for pair in (("settle", -number), ("claim", number))]


@in_loop
async def test_a_question_about_an_account_stays_behind_what_was_asked_before() -> None:
    async with connected() as (redis, of):
        told = Told()
        await ask_by_turns(of, range(line.COMMANDS_MAX + 3), told)
        of.send(("claim", 100), told)
        question = asyncio.create_task(of.ask("look", 7))
        await redis.has(line.COMMANDS_MAX + 2)
        assert [operation[1] for operation in redis.asked[-2] if operation[0] == "claim"] == [8, 9, 10, 100]
        assert redis.asked[-1] == [["look", 7]]
        redis.answer(len(redis.asked))
        assert await question == ["look", 7]
        assert told.answers == [*range(line.COMMANDS_MAX + 3), 100]


@in_loop
async def test_who_waits_behind_others_is_told_that_redis_is_away_too() -> None:
    async with connected() as (redis, of):
        told = Told()
        await ask_by_turns(of, range(line.COMMANDS_MAX + 3), told)
        await redis.has(line.COMMANDS_MAX)
        redis.hang_up()
        await told.has(line.COMMANDS_MAX + 3)
        assert all(isinstance(one, line.RedisAway) for one in told.answers)
        await of.connected.wait()
        of.send(("claim", 5), told)
        await redis.has(line.COMMANDS_MAX + 1)
        assert redis.asked[-1] == [["claim", 5]]


@in_loop
async def test_only_a_redis_that_says_nothing_is_given_up(clock: Clock) -> None:
    """One that is behind answers each command long after it was sent."""
    async with connected() as (redis, of):
        told = Told()
        await ask_by_turns(of, range(4), told)
        await redis.has(4)
        for number in range(3):
            clock.now_s += line.ANSWER_S_MAX * 0.9
            await asyncio.sleep(0.1)  # ten looks
            redis.answer()
            await told.has(number + 1)
        assert of.up
        assert told.answers == [0, 1, 2]
        clock.now_s += line.ANSWER_S_MAX * 1.1
        await told.has(4)
        assert not of.up
        assert isinstance(told.answers[3], line.RedisAway)


@in_loop
async def test_an_answer_that_lies_there_unread_after_a_pause_of_the_worker_is_read(clock: Clock) -> None:
    async with connected() as (redis, of):
        told = Told()
        of.send(("claim", 1), told)
        await redis.has(1)
        clock.now_s += 100
        redis.answer()
        late = of._look(None)
        assert late is not None
        await told.has(1)
        assert told.answers == [1]
        assert of._look(late) is None
        assert of.up


@in_loop
async def test_a_redis_that_answers_too_slowly_for_those_who_wait_is_given_up(clock: Clock) -> None:
    async with connected() as (redis, of):
        began_s, told, count, answered = clock.now_s, Told(), 2 * line.COMMANDS_MAX, 0
        await ask_by_turns(of, range(count), told)
        await redis.has(line.COMMANDS_MAX)
        while clock.now_s < began_s + line.WAIT_S_MAX * 0.9:
            assert of.up
            clock.now_s += line.ANSWER_S_MAX * 0.9
            redis.answer()
            answered += 1
            await told.has(answered)
        clock.now_s = began_s + line.WAIT_S_MAX * 1.01
        await told.has(count)
        assert not of.up
        assert told.answers[:answered] == list(range(answered))
        assert all(isinstance(one, line.RedisAway) for one in told.answers[answered:])


@in_loop
async def test_a_redis_that_answers_each_soon_but_not_all_who_wait_behind_them_is_given_up(clock: Clock) -> None:
    async with connected() as (redis, of):
        answers = int(line.WAIT_S_MAX)
        told, count = Told(), line.COMMANDS_MAX + line.TOGETHER * answers
        await ask_by_turns(of, range(count), told)
        for number in range(answers):
            await redis.has(line.COMMANDS_MAX + number)
            clock.now_s += 1
            redis.answer()
        await redis.has(line.COMMANDS_MAX + answers)
        assert of.up
        clock.now_s += 0.1
        await told.has(count)
        assert not of.up


@in_loop
async def test_a_refusal_that_comes_at_every_try_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a wrong password, or a Redis whose memory is full: a line for each try would be several a second, for ever."""
    tries, enough = 0, asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        if tries == TRIES:
            enough.set()
        writer.write(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
        with contextlib.suppress(OSError):
            while await reader.read(100):
                pass
        writer.close()

    monkeypatch.setattr(line, "RECONNECT_S", 0.01)
    async with await asyncio.start_server(refuse, "127.0.0.1") as server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        redis = line.Line(f"redis://:wrong@127.0.0.1:{port}", lambda: None)
        async with redis.running():
            await enough.wait()
            assert redis.refusal.startswith("WRONGPASS")
    assert [record.getMessage() for record in caplog.records] == ["Redis refuses a command"]
