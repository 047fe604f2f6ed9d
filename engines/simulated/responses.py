"""`/v1/responses`: OpenAI's Responses API for text, without storage and without tools."""

from collections.abc import Sequence

import orjson

from engines.simulated.calls import Call
from engines.simulated.shapes import Head, Json, Usage
from engines.simulated.tokens import Answer


class ResponsesShape:
    """One message with one text part. Events are numbered, and end with `response.completed` or `.incomplete`."""

    done = b""

    def __init__(self, head: Head, _: Call) -> None:
        self._head = head
        self._item_id = f"msg_{head.id.removeprefix('resp_')}"
        self._sequence = 0
        self._text = ""

    def whole(self, answers: Sequence[Answer], usage: Usage) -> Json:
        answer = answers[0]
        complete = answer.finish_reason == "stop"
        return self._response("completed" if complete else "incomplete") | {
            "output": [self._item(answer.text, "completed" if complete else "incomplete")],
            "incomplete_details": None if complete else {"reason": "max_output_tokens"},
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def opening(self) -> list[Json]:
        begun = self._response("in_progress")
        return [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": self._item(None, "in_progress")},
            {"type": "response.content_part.added", **self._place(), "part": self._part("")},
        ]

    def piece(self, index: int, text: str, tokens: int, ended: Answer | None) -> Json:  # noqa: ARG002  as every Shape
        self._text += text
        return {"type": "response.output_text.delta", **self._place(), "delta": text, "logprobs": []}

    def closing(self, answers: Sequence[Answer], usage: Usage) -> list[Json]:
        response = self.whole(answers, usage)
        return [
            {"type": "response.output_text.done", **self._place(), "text": self._text, "logprobs": []},
            {"type": "response.content_part.done", **self._place(), "part": self._part(self._text)},
            {"type": "response.output_item.done", "output_index": 0, "item": response["output"][0]},
            {"type": f"response.{response['status']}", "response": response},
        ]

    def frame(self, event: Json) -> bytes:
        numbered = event | {"sequence_number": self._sequence}
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(numbered))

    def _place(self) -> Json:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _part(self, text: str) -> Json:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}

    def _item(self, text: str | None, status: str) -> Json:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [] if text is None else [self._part(text)],
        }

    def _response(self, status: str) -> Json:
        return {
            "id": self._head.id,
            "object": "response",
            "created_at": self._head.created,
            "status": status,
            "model": self._head.model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }
