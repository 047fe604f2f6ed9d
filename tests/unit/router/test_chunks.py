"""Streams of engines in chunked coding: however they are cut on their way, the same bytes are handed on."""

import asyncio
import json
import random
from itertools import product

import pytest

from router.inference.chunked import begin_of_only
from router.inference.shapes import SHAPES, Call
from router.inference.upstream import EngineConnection, EnginePool, Timeouts
from warehouse.base.errors import EngineFailed, EngineTimedOut

TIMEOUTS = Timeouts(connect_s=1, first_token_s=5, between_tokens_s=5, total_s=10)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECES = [b"data: {}\n\n", b"5\r\nhello\r\n", b"x" * 300, b"0\r\n\r\n", b"\r\n", b"a", b"data: [DONE]\n\n"]


class Transport(asyncio.Transport):
    """Takes what is written; aborted or not."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _framed(piece: bytes, *, upper: bool = False, extension: bytes = b"") -> bytes:
    size = b"%X" % len(piece) if upper else b"%x" % len(piece)
    return size + extension + b"\r\n" + piece + b"\r\n"


async def _relayed(reads: list[bytes]) -> tuple[bytes, EngineConnection]:
    """What is handed on of an answer that comes in these reads."""
    pool = EnginePool("http://127.0.0.1:1", connections_max=1, timeouts=TIMEOUTS)
    connection = EngineConnection(pool)
    connection.connection_made(Transport())
    connection.send(b"POST / HTTP/1.1\r\n\r\n", TIMEOUTS)
    connection.data_received(reads[0])
    await connection.answer_head()
    passed: list[bytes] = []
    task = asyncio.ensure_future(connection.relay(passed.append, TIMEOUTS.between_tokens_s))
    await asyncio.sleep(0)
    for read in reads[1:]:
        connection.data_received(read)
    await task
    return b"".join(passed), connection


def test_a_stream_is_the_same_however_it_is_cut() -> None:
    chance = random.Random(1)
    for _ in range(300):
        pieces = [chance.choice(PIECES) for _ in range(chance.randint(1, 8))]
        frames = [
            _framed(piece, upper=chance.random() < 0.5, extension=b";a=b" if chance.random() < 0.2 else b"") for piece in pieces
        ]
        frames.append(b"0\r\n\r\n")
        reads = [HEAD]
        match chance.randrange(3):
            case 0:  # as engines send them
                reads += frames
            case 1:
                whole = b"".join(frames)
                cuts = sorted(chance.sample(range(1, len(whole)), min(5, len(whole) - 1)))
                reads += [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
            case _:  # the first with the head, others in pairs
                reads = [HEAD + frames[0], *(b"".join(frames[at : at + 2]) for at in range(1, len(frames), 2))]
        passed, connection = asyncio.run(_relayed(reads))
        assert passed == b"".join(pieces), reads
        connection.close()


def test_whole_chunks_do_not_go_through_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    begins: list[int] = []

    def noted(data: bytes) -> int:
        begins.append(begin_of_only(data))
        return begins[-1]

    monkeypatch.setattr("router.inference.upstream.begin_of_only", noted)
    asyncio.run(_relayed([HEAD, *[_framed(b"token")] * 4, b"0\r\n\r\n"]))
    assert begins == [3] * 3 + [0]


def test_what_takes_chunks_is_asked_first_and_the_relay_gets_the_others() -> None:
    asyncio.run(_taken())


async def _taken() -> None:
    connection = EngineConnection(EnginePool("http://127.0.0.1:1", connections_max=1, timeouts=TIMEOUTS))
    connection.connection_made(Transport())
    connection.send(b"POST / HTTP/1.1\r\n\r\n", TIMEOUTS)
    assert connection.has_spoken(), "who has just asked has not waited"
    assert not connection.has_spoken()
    connection.data_received(HEAD)
    await connection.answer_head()
    passed, taken = list[bytes](), list[bytes]()

    def take(chunk: bytes) -> bool:
        if b"token" in chunk:
            taken.append(chunk)
        return b"token" in chunk

    task = asyncio.ensure_future(connection.relay(passed.append, TIMEOUTS.between_tokens_s))
    await asyncio.sleep(0)
    connection.data_received(_framed(b"first"))
    assert connection.has_spoken()
    assert not connection.has_spoken()
    connection.take_chunk = take
    connection.data_received(_framed(b"token 1"))
    assert connection.has_spoken()
    connection.data_received(b"7\r\ntok")  # cut: the parser puts it together
    connection.data_received(b"en 2\r\n")
    connection.data_received(_framed(b"other"))
    connection.data_received(_framed(b"token 3"))
    connection.data_received(b"0\r\n\r\n")
    await task
    assert taken == [_framed(b"token 1"), _framed(b"token 3")]
    assert b"".join(passed) == b"firsttoken 2other"
    connection.close()
    assert connection.take_chunk is None


@pytest.mark.parametrize("is_whole", [True, False])
def test_each_piece_gives_the_engine_its_time_for_the_next(is_whole: bool) -> None:
    """However it is cut; and while the client is too slow to take more, its silence is not the engine's fault."""
    asyncio.run(_silences([_framed(b"token")] if is_whole else [b"5\r\nto", b"ken\r\n"]))


async def _silences(piece: list[bytes]) -> None:
    timeouts = Timeouts(connect_s=1, first_token_s=5, between_tokens_s=5, total_s=1000)
    pool = EnginePool("http://127.0.0.1:1", connections_max=1, timeouts=timeouts)
    connection = EngineConnection(pool)
    pool.connections.add(connection)
    connection.connection_made(Transport())
    connection.send(b"POST / HTTP/1.1\r\n\r\n", timeouts)
    connection.data_received(HEAD + _framed(b"token"))
    await connection.answer_head()
    task = asyncio.ensure_future(connection.relay(lambda _: None, timeouts.between_tokens_s))
    await asyncio.sleep(0)
    at_s = asyncio.get_running_loop().time()
    for _ in range(3):
        pool.sweep(at_s)
        pool.sweep(at_s + 4.9)
        assert connection.open
        for read in piece:
            connection.data_received(read)
        at_s += 4.9
    connection.pause()
    pool.sweep(at_s)
    pool.sweep(at_s + 500)
    assert connection.open
    connection.resume()
    for read in piece:
        connection.data_received(read)
    pool.sweep(at_s)
    pool.sweep(at_s + 4.9)
    assert connection.open
    pool.sweep(at_s + 5.1)
    with pytest.raises(EngineTimedOut):
        await task


WELL = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
OTHER = b"HTTP/1.1 500 No\r\nx: y\r\ncontent-length: 5\r\n\r\nother"


@pytest.mark.parametrize("behind", [OTHER, OTHER[:20], OTHER[:-2], b"garbage", WELL])
@pytest.mark.parametrize("is_late", [False, True])
def test_what_stands_behind_an_answer_is_no_part_of_it_or_of_the_next(behind: bytes, is_late: bool) -> None:
    asyncio.run(_followed(behind, is_late=is_late))


async def _followed(behind: bytes, *, is_late: bool) -> None:
    connection, transport = EngineConnection(EnginePool("http://127.0.0.1:1", connections_max=1, timeouts=TIMEOUTS)), Transport()
    connection.connection_made(transport)
    for at_once in (WELL, WELL if is_late else WELL + behind):  # the second one's head is known
        connection.send(b"POST / HTTP/1.1\r\n\r\n", TIMEOUTS)
        connection.data_received(at_once)
        assert (await connection.answer_head()).status == 200
        assert await connection.read(1) == b"{}"
        assert await connection.read(1) == b""
        connection.close()
    if is_late or behind == OTHER[:20]:
        connection.data_received(behind)
    assert not connection.open
    passed, stream = await _relayed([HEAD, _framed(b"token") + b"0\r\n\r\n" + behind])
    assert passed == b"token"
    stream.close()


def test_an_engine_that_goes_over_to_another_protocol_has_failed() -> None:
    async def run() -> None:
        connection = EngineConnection(EnginePool("http://127.0.0.1:1", connections_max=1, timeouts=TIMEOUTS))
        connection.connection_made(Transport())
        connection.send(b"POST / HTTP/1.1\r\n\r\n", TIMEOUTS)
        connection.data_received(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nabc")
        with pytest.raises(EngineFailed, match="another protocol"):
            await connection.answer_head()

    asyncio.run(run())


BROKEN = [b"6\r\ntoken\r\n", b"4\r\ntoken\r\n", b"0x5\r\ntoken\r\n", b"+5\r\ntoken\r\n", b"zz\r\n{}\r\n"]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_chunk_that_is_none_is_a_fault_of_the_engine(broken: bytes) -> None:
    with pytest.raises(EngineFailed):
        asyncio.run(_relayed([HEAD, _framed(b"token"), broken, _framed(b"token"), b"0\r\n\r\n"]))


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"5\r\ntoken\r\n", b"token"),
        (b"a\r\n0123456789\r\n", b"0123456789"),
        (b"A\r\n0123456789\r\n", None),
        (b"0005\r\ntoken\r\n", None),
        (b"1000\r\n" + b"x" * 4096 + b"\r\n", b"x" * 4096),
        (b"1001\r\n" + b"x" * 4097 + b"\r\n", None),
        (b"0\r\n\r\n", None),
        (b"5\r\ntoken", None),
        (b"5\r\ntokens!", None),
        (b"5\r\ntoken\r\n5\r\ntoken\r\n", None),
        (b"5;a=b\r\ntoken\r\n", None),
        (b"000000005\r\ntoken\r\n", None),
        (b"\r\n", None),
        (b"", None),
    ],
)
def test_only_a_small_chunk_whole_and_alone_is_one(data: bytes, content: bytes | None) -> None:
    begin = begin_of_only(data)
    assert (data[begin:-2] if begin else None) == content


TOKEN = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]%b}\n\n'


@pytest.mark.parametrize("usage", [b',"usage":{"prompt_tokens":9,"completion_tokens":1}', b""])
def test_a_chunk_with_a_wrong_byte_is_no_token_or_is_what_it_would_be_by_the_longer_way(usage: bytes) -> None:
    whole = _framed(TOKEN % usage)
    line = whole[: whole.index(b"\n") + 1]
    wrongs = [whole[:at] + bytes([byte]) + whole[at + 1 :] for at, byte in product(range(len(whole)), b'}{[]",:\r\n0n ')]
    for wrong in (*wrongs, whole[:-6] + b"00\n00}"):  # the last: a line ends where a token's does, and the chunk does not
        gone: list[bytes] = []
        one, other = (SHAPES["/v1/chat/completions"].tap(Call("m", stream=True)) for _ in range(2))
        assert one is not None
        assert other is not None
        take = one.tokens_to(gone.append)
        assert take is not None
        if not take(wrong):
            assert not gone
            continue
        assert wrong.startswith(line)
        assert wrong.endswith(b"\n\n\r\n")
        event = wrong[len(line) : -2]
        if _is_json(event.removeprefix(b"data: ")):
            assert gone == [_framed(other.feed(event))]
            assert (one.done, one.engine_error, one.reading) == (other.done, other.engine_error, other.reading)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
