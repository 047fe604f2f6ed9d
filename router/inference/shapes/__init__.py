"""The shapes of the inference API: what each endpoint's requests and answers look like, and what is metered of them."""

from collections.abc import Mapping
from types import MappingProxyType

from router.inference.shapes import errors, requests, usage
from router.inference.shapes.call import Call
from router.inference.shapes.events import MessagesTap, ResponsesTap
from router.inference.shapes.shape import Shape
from router.inference.shapes.tap import ChoicesTap, Tap
from router.inference.shapes.usage import Reading, Usage


def _chat_tap(call: Call) -> Tap:
    return ChoicesTap(wants_usage=call.wants_usage, wants_running_usage=call.wants_running_usage, choices=call.choices)


def _completion_tap(call: Call) -> Tap:
    return ChoicesTap(
        wants_usage=call.wants_usage,
        wants_running_usage=call.wants_running_usage,
        choices=call.choices,
        prompts=max(1, call.messages),
    )


_ALL = (
    Shape(
        endpoint="chat.completions",
        path="/v1/chat/completions",
        parse=requests.chat,
        reader=usage.read_choices,
        make_tap=_chat_tap,
        cap="max_completion_tokens",
        has_options=True,
    ),
    Shape(
        endpoint="completions",
        path="/v1/completions",
        parse=requests.completion,
        reader=usage.read_choices,
        make_tap=_completion_tap,
        cap="max_tokens",
        has_options=True,
    ),
    Shape(
        endpoint="responses",
        path="/v1/responses",
        parse=requests.responses,
        reader=usage.read_response,
        make_tap=lambda _: ResponsesTap(),
        cap="max_output_tokens",
        error_event=errors.responses_event,
    ),
    Shape(
        endpoint="messages",
        path="/v1/messages",
        parse=requests.messages,
        reader=usage.read_message,
        make_tap=lambda _: MessagesTap(),
        cap="max_tokens",
        error_body=errors.anthropic_body,
        error_event=errors.anthropic_event,
        id_headers=errors.ANTHROPIC_ID_HEADERS,
    ),
    Shape(
        endpoint="tokenize",
        path="/v1/messages/count_tokens",
        parse=requests.count_messages,
        reader=usage.read_input_count,
        error_body=errors.anthropic_body,
        error_event=errors.anthropic_event,
        id_headers=errors.ANTHROPIC_ID_HEADERS,
    ),
    Shape(endpoint="embeddings", path="/v1/embeddings", parse=requests.embedding, reader=usage.read_pooled),
    *(
        Shape(endpoint="rerank", path=path, parse=requests.rerank, reader=usage.read_pooled)
        for path in ("/rerank", "/v1/rerank", "/v2/rerank")
    ),
    *(Shape(endpoint="score", path=path, parse=requests.score, reader=usage.read_pooled) for path in ("/score", "/v1/score")),
    Shape(endpoint="tokenize", path="/tokenize", parse=requests.tokenize, reader=usage.read_count),
    Shape(endpoint="detokenize", path="/detokenize", parse=requests.detokenize, reader=usage.read_text),
)
SHAPES: Mapping[str, Shape] = MappingProxyType({shape.path: shape for shape in _ALL})

__all__ = ["SHAPES", "Call", "Reading", "Shape", "Tap", "Usage"]
