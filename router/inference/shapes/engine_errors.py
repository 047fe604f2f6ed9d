"""What an engine's error says in a body or an event, and of which status it is where no status line says it."""

from typing import Any

import msgspec

from router.inference.shapes.edit import read
from router.inference.shapes.errors import ANTHROPIC_TYPES

# Source: the codes of OpenAI's `ResponseError` that are about what was sent: any engine would say the same of it.
_REFUSALS = frozenset(
    {"context_length_exceeded", "invalid_prompt", "bio_policy", "misalignment_policy_violation", "image_content_policy_violation"}
    | {"invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode"}
    | {"image_too_large", "image_too_small", "image_parse_error", "image_file_too_large", "image_file_not_found"}
    | {"unsupported_image_media_type", "empty_image_file", "failed_to_download_image"}
)
_CODES = {
    **dict.fromkeys(_REFUSALS, 400),
    # OpenAI calls these, too, errors of the request; of ours to the engine.
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
}
_TYPES = {type_: status for status, type_ in reversed(ANTHROPIC_TYPES.items())}
"""Of both APIs; a type that two statuses have is of the first."""


class Told(msgspec.Struct):
    """An error, alone, in its event, or in the response that failed."""

    code: int | str | None = None
    type: str | None = None
    message: Any = None
    param: Any = None
    error: "Told | None" = None
    response: "Told | None" = None


_TOLD = msgspec.json.Decoder(Told)


def error_in(data: bytes) -> Told | None:
    """The error itself; that of an older vLLM stands in no envelope. None: it cannot be read."""
    try:
        told: Told = read(_TOLD, data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    told = told.response or told
    return told.error or told


def status_in(data: bytes) -> int | None:
    """The status that an error is of: vLLM's and SGLang's have it as `code`, others say it in words. None: it does not say."""
    told = error_in(data)
    if told is None:
        return None
    if isinstance(told.code, int):
        return told.code if 400 <= told.code < 600 else None
    return _CODES.get(told.code or "") or _TYPES.get(told.type or "")
