"""What the management API's requests share."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from psycopg_pool import AsyncConnectionPool

from router.settings import RouterSettings
from warehouse.access.lines import NOTICED
from warehouse.identity.audit import audit_key
from warehouse.identity.second_factor import SecondFactor

if TYPE_CHECKING:
    from router.management.oidc_provider import OidcProvider

DATABASE_WAIT_S = 5.0
RECONNECT_S_MAX = 3.0  # the pool doubles its pauses until then; the next request begins anew
CONNECTIONS_MAX = 4


def _provider(settings: RouterSettings) -> "OidcProvider | None":
    """The identity provider, if there is one. Its packages take a third of a second to load: nobody else waits for them."""
    if settings.oidc_issuer is None:
        return None
    from router.management.oidc_provider import OidcProvider  # noqa: PLC0415 - as the docstring says

    return OidcProvider(settings)


class ManagementState:
    """The pool of role inferhouse_management, what signs sessions, and the identity provider if there is one."""

    def __init__(self, settings: RouterSettings) -> None:
        self.key_pepper = settings.key_pepper.get_secret_value().encode()
        self.audit_key = audit_key(self.key_pepper)
        self.session_secret = settings.session_secret.get_secret_value().encode()
        self.settings = settings
        self.second_factor = SecondFactor(self.key_pepper)
        self.oidc = _provider(settings)
        self.pool = AsyncConnectionPool(
            settings.management_database_url.get_secret_value(),
            kwargs={**NOTICED},
            min_size=0,
            max_size=CONNECTIONS_MAX,
            timeout=DATABASE_WAIT_S,
            reconnect_timeout=RECONNECT_S_MAX,
            open=False,
            name="management",
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The pool, open."""
        await self.pool.open(wait=False)
        try:
            yield
        finally:
            await self.pool.close()
