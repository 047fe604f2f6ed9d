"""What is said of a request before any engine sees it, cut to what rows and messages can hold."""

from urllib.parse import unquote

from router.inference.shapes.call import tags_of
from warehouse.base.errors import InvalidRequest
from warehouse.base.logging import redact

END_USER_CHARACTERS_MAX = 128
MODEL_CHARACTERS_MAX = 128
_KEY_CHARACTERS = 256  # more than any key of ours has


class ClientGone(Exception):
    """The client left. Nobody is there to be told."""


def plain(text: str, characters_max: int) -> str:
    """What a caller named, as it is repeated and recorded: not longer than that, and without a key that was sent by mistake."""
    text = text[: characters_max + _KEY_CHARACTERS]  # a key that begins in what is kept is looked at whole, and no megabytes are
    return (redact(text) if "-ih-" in text else text)[:characters_max]


def tags_of_header(header: bytes, others: dict[str, str] | None) -> dict[str, str] | None:
    """Tags of `x-inferhouse-tags: team=search,feature=chat`, percent-encoded where need be, on top of the body's.

    Raises: InvalidRequest.
    """
    tags = dict(others or {})
    for pair in filter(None, header.decode("latin-1").split(",")):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise InvalidRequest("x-inferhouse-tags is `name=value,name=value`", param="x-inferhouse-tags")
        tags[unquote(name.strip())] = unquote(value.strip())
    return tags_of(tags)
