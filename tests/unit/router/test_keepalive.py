"""Comments in silent streams."""

import asyncio
from itertools import pairwise

import pytest

from router.inference.keepalive import KeepAlive

SILENT_S_MAX = 15.0
ROUNDS = 5


class Over(Exception):
    """Enough rounds."""


class Spoken:
    """A stream whose last token comes just after the first round."""

    def __init__(self) -> None:
        self.now_s = self.token_s = 0.0
        self.comments_s: list[float] = []
        self._has_spoken = False
        self._rounds = 0

    async def sleep(self, seconds: float) -> None:
        if self._rounds == 1:
            self.token_s, self._has_spoken = self.now_s + 0.001, True
        if self._rounds == ROUNDS:
            raise Over
        self._rounds += 1
        self.now_s += seconds

    def pulse(self) -> None:
        if self._has_spoken:
            self._has_spoken = False
        elif self.token_s:
            self.comments_s.append(self.now_s)


def test_no_silence_is_longer_than_the_setting_nor_shorter_than_half(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, keepalive = Spoken(), KeepAlive(SILENT_S_MAX)
    keepalive.streams[stream] = None
    monkeypatch.setattr(asyncio, "sleep", stream.sleep)
    with pytest.raises(Over):
        asyncio.run(keepalive.run())
    sent_s = [stream.token_s, *stream.comments_s]
    silences_s = [after - before for before, after in pairwise(sent_s)]
    assert len(silences_s) == ROUNDS - 2
    assert all(SILENT_S_MAX / 2 <= silence_s <= SILENT_S_MAX for silence_s in silences_s)
