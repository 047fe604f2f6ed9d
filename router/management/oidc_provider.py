"""The identity provider: discovery, the way to it and back with PKCE, and what its ID token says (OpenID Connect Core 1.0)."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from router.settings import RouterSettings
from warehouse.base.errors import AuthenticationFailed, NotReady

ANSWER_S_MAX = 5.0
METADATA_S = 3600.0
KEYS_S_MIN = 10.0
"""Keys that a token is not signed with are read anew, but not more often than this: anybody may send a token."""
CLOCK_S_MAX = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in at the provider."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str | None
    groups: tuple[str, ...]


class OidcProvider:
    """Raises from every method: NotReady: the provider does not answer, or not as its discovery document says."""

    def __init__(self, settings: RouterSettings) -> None:
        assert settings.oidc_issuer is not None
        self._issuer = settings.oidc_issuer
        self._settings = settings
        self._lock = asyncio.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._read_at_s = self._keys_read_at_s = -METADATA_S

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, code_verifier: str) -> str:
        """Where the browser goes."""
        metadata = await self._discovered()
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=nonce, code_verifier=code_verifier
            )
        return str(url)

    async def identity(self, *, redirect_uri: str, code: str, nonce: str, code_verifier: str) -> Identity:
        """Who comes back with this code. Raises: AuthenticationFailed: the provider refuses it, or its token is not for us."""
        metadata = await self._discovered()
        try:
            async with self._client(redirect_uri) as client:
                token = await client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=code_verifier)
        except AuthlibBaseError as error:
            raise AuthenticationFailed(f"the identity provider refused the sign-in ({error.error}): begin anew") from error
        except (httpx2.HTTPError, ValueError) as error:
            raise self._away(error) from error
        return self._identity(await self._claims(token.get("id_token"), nonce))

    def _client(self, redirect_uri: str) -> AsyncOAuth2Client:
        secret = self._settings.oidc_client_secret.get_secret_value()
        return AsyncOAuth2Client(
            client_id=self._settings.oidc_client_id,
            client_secret=secret or None,
            token_endpoint_auth_method=None if secret else "none",
            scope=self._settings.oidc_scopes,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=ANSWER_S_MAX,
        )

    async def _discovered(self) -> dict[str, Any]:
        async with self._lock:
            if time.monotonic() > self._read_at_s + METADATA_S:
                metadata = await self._read(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
                if metadata.get("issuer") != self._issuer:
                    raise NotReady(
                        f"the identity provider says that it is {metadata.get('issuer')!r}, and ROUTER_OIDC_ISSUER says another",
                        retry_after_s=60,
                    )
                missing = {"authorization_endpoint", "token_endpoint", "jwks_uri"} - metadata.keys()
                if missing:
                    raise NotReady(
                        f"the identity provider's discovery document lacks {', '.join(sorted(missing))}", retry_after_s=60
                    )
                self._metadata, self._read_at_s = metadata, time.monotonic()
        return self._metadata

    async def _claims(self, id_token: object, nonce: str) -> dict[str, Any]:
        if not isinstance(id_token, str):
            raise AuthenticationFailed("the identity provider sent no ID token: its client must ask for the scope openid")
        try:
            token = jwt.decode(id_token, await self._key_set(), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            try:
                token = jwt.decode(id_token, await self._key_set(again=True), algorithms=ALGORITHMS)
            except (JoseError, ValueError) as error:
                raise AuthenticationFailed("the ID token is not signed by the identity provider") from error
        wanted = jwt.JWTClaimsRegistry(
            leeway=CLOCK_S_MAX,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._settings.oidc_client_id},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            wanted.validate(token.claims)
        except JoseError as error:
            raise AuthenticationFailed(f"the ID token is not for this sign-in ({error.error}): begin anew") from error
        claims: dict[str, Any] = token.claims
        if claims.get("azp", self._settings.oidc_client_id) != self._settings.oidc_client_id:
            raise AuthenticationFailed("the ID token was made for another client")
        return claims

    async def _key_set(self, *, again: bool = False) -> KeySet:
        metadata = await self._discovered()
        async with self._lock:
            age_s = time.monotonic() - self._keys_read_at_s
            if self._keys is None or age_s > METADATA_S or (again and age_s > KEYS_S_MIN):
                self._keys = KeySet.import_key_set(await self._read(metadata["jwks_uri"]))  # type: ignore[arg-type]
                self._keys_read_at_s = time.monotonic()
            return self._keys

    async def _read(self, url: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=ANSWER_S_MAX) as client:
                answer = await client.get(url)
                answer.raise_for_status()
                document: dict[str, Any] = answer.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise self._away(error) from error
        if not isinstance(document, dict):
            raise self._away(TypeError())
        return document

    def _away(self, error: Exception) -> NotReady:
        return NotReady(f"the identity provider {self._issuer} does not answer ({type(error).__name__})", retry_after_s=5)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        groups = claims.get(self._settings.oidc_groups_claim) or []
        email, name = claims.get("email"), claims.get("name")
        return Identity(
            issuer=self._issuer,
            subject=str(claims["sub"]),
            email=email if isinstance(email, str) and email else None,
            email_verified=claims.get("email_verified") in {True, "true"},
            name=name if isinstance(name, str) and name else None,
            groups=tuple(str(group) for group in groups) if isinstance(groups, list) else (str(groups),),
        )
