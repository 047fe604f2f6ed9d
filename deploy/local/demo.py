"""The first request: asked as a customer would, and followed until it is a billed row."""

import time
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import httpx
import psycopg

from deploy.local.errors import StepFailed
from deploy.local.instance import Instance

_ROW = """
select e.input_tokens, e.output_tokens, e.cost_picousd, e.charge_class::text
from raw.usage_events as e
where e.request_id = %s and e.attempt > 0
"""
_PICOUSD_PER_USD = 10**12


@dataclass(frozen=True, slots=True)
class Bill:
    """What the first request used and cost."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_picousd: int
    charge_class: str

    def __str__(self) -> str:
        cost_usd = Decimal(self.cost_picousd) / _PICOUSD_PER_USD
        return (
            f"{self.model} answered: {self.input_tokens} tokens in, {self.output_tokens} out, "
            f"{cost_usd:.9f} USD ({self.charge_class})"
        )


def ask(instance: Instance, model: str, timeout_s: float) -> UUID:
    """Send one chat request with the demo key until it is answered; returns its request id.

    Raises: StepFailed: no answer within the time; the last refusal is in the message.
    """
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello to the world."}], "max_tokens": 24}
    headers = {"authorization": f"Bearer {instance.credentials.api_key}"}
    deadline = time.monotonic() + timeout_s
    said = "nothing"
    with httpx.Client(base_url=instance.base_url, headers=headers, timeout=60, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                answer = client.post("/chat/completions", json=body)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if answer.status_code == httpx.codes.OK:
                    return UUID(answer.headers["x-request-id"])
                said = f"HTTP {answer.status_code}: {answer.text[:300]}"
            time.sleep(0.5)
    raise StepFailed(f"the router gave no answer from {model} within {timeout_s:.0f} s; it said last: {said}")


def bill(instance: Instance, request_id: UUID, model: str, timeout_s: float = 15) -> Bill:
    """Wait for the request's row and read its tokens and cost.

    Raises: StepFailed: there is no row after the time.
    """
    deadline = time.monotonic() + timeout_s
    with psycopg.connect(instance.owner_url, autocommit=True) as conn:
        while time.monotonic() < deadline:
            row = conn.execute(_ROW, [request_id]).fetchone()
            if row:
                return Bill(model, row[0], row[1], row[2] or 0, row[3])
            time.sleep(0.1)
    raise StepFailed(f"request {request_id} was answered and is not in raw.usage_events after {timeout_s:.0f} s")
