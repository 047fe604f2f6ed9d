"""Errors inside streams that are about the request: any engine would say the same of it."""

import msgspec

from router.inference.shapes.edit import read

_TYPES = {"invalid_request_error": 400, "request_too_large": 413}
"""Of OpenAI's and Anthropic's APIs; the latter's others are about the account or the engine."""
_OURS = frozenset({"invalid_api_key", "insufficient_quota", "model_not_found"})
"""OpenAI calls these, too, errors of the request; of ours to the engine."""
# Source: the codes of OpenAI's `ResponseError` that are about what was sent.
_CODES = frozenset(
    {"context_length_exceeded", "invalid_prompt", "bio_policy", "misalignment_policy_violation", "image_content_policy_violation"}
    | {"invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode"}
    | {"image_too_large", "image_too_small", "image_parse_error", "image_file_too_large", "image_file_not_found"}
    | {"unsupported_image_media_type", "empty_image_file", "failed_to_download_image"}
)


class _Told(msgspec.Struct):
    """An error, alone, in its event, or in the response that failed."""

    code: int | str | None = None
    type: str | None = None
    error: "_Told | None" = None
    response: "_Told | None" = None


_TOLD = msgspec.json.Decoder(_Told)


def status_in(data: bytes) -> int | None:
    """The status that an error states: vLLM's and SGLang's as `code`, others by type or name. None: it does not say."""
    try:
        told: _Told = read(_TOLD, data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    told = told.response or told
    told = told.error or told
    if isinstance(told.code, int):
        return told.code
    if told.code in _OURS:
        return None
    return 400 if told.code in _CODES else _TYPES.get(told.type or "")
