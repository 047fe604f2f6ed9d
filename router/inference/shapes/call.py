"""What is read of a request, whatever its endpoint, and how a field that cannot be used is named."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from router.inference.shapes.edit import has_more_fields, is_over, with_whole_characters
from warehouse.base.errors import InvalidRequest

JSON_DEPTH_MAX = 256
JSON_VALUES_MAX = 100_000
JSON_FIELDS_MAX = 100_000
TAGS_MAX = 16
TAG_KEY_CHARACTERS_MAX = 64
TAG_VALUE_CHARACTERS_MAX = 512
TAGS_BYTES_MAX = 1500  # all together; the row's column holds 2,048 bytes, of which some are jsonb's own
SESSION_CHARACTERS_MAX = 256

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
EchoTokens = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""As `Count`, and 0 where only the prompt is asked back. Elsewhere SGLang takes 0 for no cap at all."""
Absent = msgspec.UnsetType
ABSENT = msgspec.UNSET

_TEXT_TYPES = frozenset(
    {"text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "reasoning_text", "summary_text"}
    | {"message", "reasoning", "function_call", "function_call_output", "tool_use", "tool_result", "item_reference"}
    | {"tool_reference", "tool_addition", "tool_removal", "function"}
)
_MEDIA_FIELDS = (
    *("image", "image_url", "image_pil", "image_embeds", "audio", "audio_url", "input_audio", "audio_embeds"),
    *("video", "video_url", "video_embeds", "prompt_embeds", "file"),
)
_PARTS = frozenset({dict, list})
_CONTAINERS = ("content", "multi_modal", "output", "messages")


class Call(msgspec.Struct):
    """The fields of a request that we route, limit and bill by; every other field passes through unseen."""

    model: str
    stream: bool = False
    wants_usage: bool = False
    wants_running_usage: bool = False
    end_user: str | None = None
    choices: int = 1
    """Answers asked for: `n` or `best_of`, times the prompts where there are several."""
    output_tokens_max: int | None = 0
    """As asked, per choice; None: as many as fit; 0: the endpoint has no output."""
    output_tokens_default: int | None = None
    """What stands for a cap that was not asked for. Engines have defaults of their own, which nobody has held."""
    messages: int = 0
    """Messages, or inputs, or the token ids of detokenize."""
    media: int = 0
    """Images, sounds, films and files; a part whose type we do not know counts as one."""
    tools: bool = False
    prompts: int = 1
    """Texts that each have a context of their own: prompts, inputs, documents."""
    paired: bool = False
    """Each of the prompts is read together with the same query."""
    remembered: bool = False
    """The engine puts earlier calls before this one, or unpacks tensors: no byte of the body says how long the input is."""
    unread: bool = False
    """It is counted and never read by the model: no context bounds it."""
    ids: int = 0
    """Token ids, all that is counted of detokenize."""
    session: str | None = None
    """What calls that share a beginning have in common, for affinity; cut at SESSION_CHARACTERS_MAX."""
    tags: dict[str, str] | None = None
    names_options: bool = False
    """`stream_options` stands in the body, if only as null."""
    names_cap: bool = False
    """The field of the output's cap stands in the body, if only as null."""


def decode(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    """The request in a body. Raises: InvalidRequest: no JSON object, too much of it, or a wrong field, which is named."""
    if body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX:  # looked at before it takes memory
        too_much = is_over(body, depth_max=JSON_DEPTH_MAX, values_max=JSON_VALUES_MAX)
        if too_much is not None:
            raise InvalidRequest(f"the body is {too_much}")
    # What is changed in a body is found by going from field to field.
    if len(body) > JSON_FIELDS_MAX and has_more_fields(body, JSON_FIELDS_MAX):
        raise InvalidRequest(f"the body has more than {JSON_FIELDS_MAX} fields")
    try:
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b"\\u" in body and with_whole_characters(body) != body:  # as JavaScript writes a text that was cut within an emoji
            raise InvalidRequest("the body is not valid JSON: a text in it has half of a surrogate pair (`\\ud83d`)") from error
        raise InvalidRequest(f"the body is not valid JSON: {error}") from error
    if not request.model:
        raise InvalidRequest("`model` is empty: name the model to ask", param="model")
    return request


def tags_of(metadata: Mapping[str, str] | None) -> dict[str, str] | None:
    """Tags out of `metadata`. Raises: InvalidRequest: too many, or one is too long (OpenAI's bounds)."""
    if not metadata:
        return None
    if len(metadata) > TAGS_MAX:
        raise InvalidRequest(f"`metadata` has {len(metadata)} pairs: at most {TAGS_MAX}", param="metadata")
    for key, value in metadata.items():
        if len(key) > TAG_KEY_CHARACTERS_MAX:
            raise InvalidRequest(f"a key of `metadata` is longer than {TAG_KEY_CHARACTERS_MAX} characters", param="metadata")
        if len(value) > TAG_VALUE_CHARACTERS_MAX:
            message = f"a value of `metadata` is longer than {TAG_VALUE_CHARACTERS_MAX} characters"
            raise InvalidRequest(message, param=f"metadata.{key}")
        if "\0" in key or "\0" in value:  # which no text column holds
            raise InvalidRequest("`metadata` has a character of code 0", param="metadata")
    if (
        sum(len(key.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace")) for key, value in metadata.items())
        > TAGS_BYTES_MAX
    ):
        raise InvalidRequest(f"`metadata` has more than {TAGS_BYTES_MAX} bytes", param="metadata")
    return dict(metadata)


def session_of(*names: object) -> str | None:
    """The first that names a session: a text, or an object with an `id`."""
    for name in names:
        text = name.get("id") if isinstance(name, dict) else name
        if isinstance(text, str) and text:
            return text[:SESSION_CHARACTERS_MAX]
    return None


def media_in(value: object) -> int:
    """How many parts of a decoded content are no text, those inside tool results included."""
    if isinstance(value, list):
        # Token ids come by the million, and none of them is a part.
        return 0 if _PARTS.isdisjoint(map(type, value)) else sum(map(media_in, value))
    if not isinstance(value, dict):
        return 0
    kind, has_id = value.get("type"), value.get("uuid") is not None
    if isinstance(kind, str) and kind not in _TEXT_TYPES:
        return 1
    media = 0
    if kind is None or has_id:  # vLLM goes by the fields then, whatever the type; what has an id may itself be in its cache
        media = sum(name in value and (has_id or value[name] is not None) for name in _MEDIA_FIELDS)
    return media + sum(media_in(value[name]) for name in _CONTAINERS if name in value)


def media_of(contents: Iterable[object]) -> int:
    """The same over the contents of messages, most of which are plain text."""
    media = 0
    for content in contents:
        if content.__class__ is list:
            media += media_in(content)
    return media


def _wrong_field(message: str) -> InvalidRequest:
    """msgspec's message names the place: "Expected `str`, got `int` - at `$.model`", "… missing required field `model`"."""
    _, at, path = message.rpartition(" - at `$")
    param = path.strip("`").lstrip(".").removesuffix("[...]") if at else ""  # of a mapping, whose keys are anybody's
    if "missing required field" in message:
        name = message.split("`")[1]
        param = f"{param}.{name}" if param else name
        return InvalidRequest(f"`{param}` is missing", param=param)
    return InvalidRequest(f"the body cannot be used as sent: {message}", param=param or None)
