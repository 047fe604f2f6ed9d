"""`/v1/models`: what this key may use and a healthy engine serves."""

from datetime import UTC
from typing import Annotated, Any

from fastapi import Depends, Request

from router.inference.admission import MODEL_CHARACTERS_MAX, plain
from router.inference.auth import Caller, bearer
from router.inference.state import InferenceState
from router.routes import routes
from warehouse.access.catalogue import Model
from warehouse.base.errors import ModelNotFound

router = routes("inference")


def _shared(request: Request) -> InferenceState:
    state = request.app.state.inference
    assert isinstance(state, InferenceState)
    return state


Shared = Annotated[InferenceState, Depends(_shared)]


async def _caller(request: Request, shared: Shared) -> Caller:
    sent = dict(request.headers.raw)
    return await shared.keys.caller(sent.get(b"authorization") or bearer(sent.get(b"x-api-key")), request.scope)


CallerOf = Annotated[Caller, Depends(_caller)]


@router.get("/models")
async def list_models(shared: Shared, caller: CallerOf) -> dict[str, Any]:
    """The models in the key's list, or all, that an engine serves now, aliases last: OpenAI's list and Anthropic's only page."""
    usable = shared.dispatcher.usable(caller)
    page = {"has_more": False, "first_id": next(iter(usable), None), "last_id": next(reversed(usable), None)}
    return {"object": "list", "data": [_shape(name, model) for name, model in usable.items()], **page}


@router.get("/models/{name:path}")
async def get_model(name: str, shared: Shared, caller: CallerOf) -> dict[str, Any]:
    """One model. Raises: ModelNotFound: it does not exist, is not for this key, or nothing serves it now."""
    usable = shared.dispatcher.usable(caller)
    if name not in usable:
        asked = plain(name, MODEL_CHARACTERS_MAX)
        raise ModelNotFound(f"there is no model {asked!r} for this key; it may use: {', '.join(usable)}", param="model")
    return _shape(name, usable[name])


def _shape(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": "inferhouse",
        "root": model.name,  # vLLM's name for the model behind it
        "max_model_len": model.context_tokens_max,  # and for its context
        "type": "model",  # from here on as Anthropic's API has it
        "display_name": name,
        "created_at": model.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        "lifecycle": "active",
        "max_input_tokens": model.context_tokens_max,
    }
