"""Tags by header: bounded as those of the body, and on top of them."""

import pytest

from router.inference.admission import plain, tags_of_header
from warehouse.base.errors import InvalidRequest


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


def test_a_key_that_is_sent_as_a_name_is_not_repeated() -> None:
    assert "sk-ih-" not in plain("sk-ih-" + "0" * 16 + "-" + "a" * 40, 128)
