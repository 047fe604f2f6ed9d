"""`python -m router`: serve inference and management on ROUTER_HOST:ROUTER_PORT."""

import os
import sys

import uvicorn

from router.app import create_app
from router.edge import Asgi
from router.settings import RouterSettings
from warehouse.base import logging, tracing
from warehouse.base.errors import SettingsError

KEEP_ALIVE_S = 75  # clients of the OpenAI SDKs pool their connections; closing early costs them a connect


def application() -> Asgi:
    """The application of one worker, from its environment."""
    logging.configure("router")
    settings = RouterSettings.from_env(os.environ)
    # The second name is the one that OpenTelemetry's own documents give.
    endpoint = settings.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
    tracing.configure("router", endpoint, settings.trace_share)
    return create_app(settings)


def main() -> int:
    try:
        settings = RouterSettings.from_env(os.environ)
    except SettingsError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    logging.configure("router")
    uvicorn.run(
        "router.__main__:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe any local process; ROUTER_TRUSTED_PROXIES says whom we believe
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_s_max,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
