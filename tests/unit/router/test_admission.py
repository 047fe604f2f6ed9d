"""Tags by header: bounded as those of the body, and on top of them."""

import pytest

from router.inference import admission
from router.inference.admission import plain, tags_of_header
from warehouse.base.errors import InvalidRequest
from warehouse.identity.keys import ApiKeySecret


def test_tags_of_the_header_are_added_to_those_of_the_body() -> None:
    tags = tags_of_header(b"team=search, feature=chat%2Cnew", {"team": "old", "other": "1"})
    assert tags == {"team": "search", "other": "1", "feature": "chat,new"}


@pytest.mark.parametrize("header", [b"team", b"=x", b"a=" + b"x" * 513, b",".join(b"t%d=x" % n for n in range(17))])
def test_tags_that_cannot_be_used_are_refused(header: bytes) -> None:
    with pytest.raises(InvalidRequest):
        tags_of_header(header, None)


def test_tags_are_bounded_together() -> None:
    with pytest.raises(InvalidRequest, match="1500 bytes"):
        tags_of_header(b",".join(b"t%d=%b" % (n, b"x" * 400) for n in range(4)), None)


def test_a_name_of_megabytes_is_cut_before_it_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    monkeypatch.setattr(admission, "redact", lambda text: looked_at.append(len(text)) or text)
    assert plain("-ih-" + "://a:" * 1_000_000, 128) == ("-ih-" + "://a:" * 25)[:128]
    assert max(looked_at) < 1000


@pytest.mark.parametrize("at", [0, 100, 127])
def test_a_key_that_begins_in_what_is_kept_is_not_told_in_part(at: int) -> None:
    key = ApiKeySecret.generate().reveal()
    assert key.rpartition("-")[2][:8] not in plain("x" * (at - 1) + " " * (at > 0) + key + " more" * 1000, 128)


def test_a_key_that_is_sent_as_a_name_is_not_repeated() -> None:
    assert "sk-ih-" not in plain("sk-ih-" + "0" * 16 + "-" + "a" * 40, 128)
