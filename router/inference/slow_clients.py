"""Ends connections whose time is up: those that send a request too slowly, and those that hardly read their answer."""

import asyncio

from router.inference.server import InferenceProtocol

SWEEP_S = 1.0


async def sweep() -> None:
    """One sweep of all connections instead of a timer for each."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        now_s = loop.time()
        for protocol in [protocol for protocol, until_s in InferenceProtocol.waiting.items() if until_s < now_s]:
            protocol.end_slow_request()
        for protocol in list(InferenceProtocol.stalled):
            protocol.look_at_stalled(now_s)
