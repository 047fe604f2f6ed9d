"""`/v1/organization/engines`: the engines as this router sees them."""

from typing import Any

from fastapi import APIRouter, Request

from router.inference.state import InferenceState
from router.management.access import SignedIn

router = APIRouter()


@router.get("/organization/engines")
async def get_engines(request: Request, user: SignedIn) -> dict[str, Any]:
    """Every enabled engine with its model, whether it answers, and since when; for anybody who is signed in."""
    shared: InferenceState = request.app.state.inference
    data = [
        {
            "object": "engine",
            "name": state.engine.name,
            "kind": state.engine.kind,
            "model": state.engine.model,
            "healthy": state.healthy,
            "since": int(state.since.timestamp()) if state.since else None,
            "in_flight": state.pool.in_flight,
        }
        for state in shared.engines.states.values()
    ]
    return {"object": "list", "data": data}
