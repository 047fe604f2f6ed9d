"""`python -m router`: serve inference and management on ROUTER_HOST:ROUTER_PORT."""

import os
import sys

import uvicorn

from router.app import Asgi, create_app
from router.settings import RouterSettings
from warehouse.base import logging
from warehouse.base.errors import SettingsError

KEEP_ALIVE_S = 75  # clients of the OpenAI SDKs pool their connections; closing early costs them a connect


def application() -> Asgi:
    """The application of one worker, from its environment."""
    logging.configure("router")
    return create_app(RouterSettings.from_env(os.environ))


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
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_s_max,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
