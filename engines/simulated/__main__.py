"""`python -m engines.simulated --port 8101`: serve until SIGTERM or SIGINT."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

import uvloop

from engines.simulated.app import SimulatedEngine
from engines.simulated.server import Server
from engines.simulated.settings import SimulatedSettings
from warehouse.base.errors import SettingsError


async def serve(settings: SimulatedSettings) -> None:
    """Listen, say where on stderr, and stop in order. Raises: OSError: the port is taken."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await Server.listen(
        SimulatedEngine(settings).handle,
        host=settings.host,
        port=settings.port,
        body_bytes_max=settings.body_bytes_max,
        keep_alive_s=settings.keep_alive_s,
    )
    print(f"simulated engine for {settings.model} on http://{settings.host}:{server.port}", file=sys.stderr, flush=True)
    await stopped.wait()
    await server.stop(settings.shutdown_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 after a stop in order, 1 when it could not start."""
    try:
        settings = SimulatedSettings.from_args(sys.argv[1:] if argv is None else argv, os.environ)
        uvloop.run(serve(settings))
    except SettingsError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
