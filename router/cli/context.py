"""Who the command speaks as, and to whom: options before variables before what the last sign-in left."""

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from router.cli import config, output
from router.cli.client import ApiError, Client
from router.cli.config import Profile
from router.cli.output import Format

ROTATE_S = 900
"""A session's token that is older is replaced."""
BASE_URL = "http://127.0.0.1:8000/v1"


class NotSignedIn(Exception):
    """No key and no session."""


class Refused(Exception):
    """The person said no, or could not be asked."""


@dataclass(frozen=True, slots=True)
class Context:
    """The options that every command has."""

    base_url: str | None
    api_key: str | None
    organization: str | None
    profile: str
    output: Format
    yes: bool

    @property
    def file(self) -> Path:
        """Where credentials are kept."""
        return config.path(os.environ)

    @property
    def address(self) -> str:
        """The base URL: of the option, the variable, the last sign-in, or this machine."""
        said = self.base_url or os.environ.get("INFERHOUSE_BASE_URL")
        if said:
            return said
        known = config.load(self.file, self.profile)
        return known.base_url if known else BASE_URL

    def client(self) -> Client:
        """A client of who is signed in. Raises: NotSignedIn, Refused, ConfigError, ApiError, Unreachable."""
        organization = self.organization or os.environ.get("INFERHOUSE_ORGANIZATION")
        key = self.api_key or os.environ.get("INFERHOUSE_ADMIN_KEY")
        if key and not _fits_a_header(key):
            raise NotSignedIn("this is no key: keys are ASCII without spaces, and begin with sk-ih-")
        if organization and not _fits_a_header(organization):
            raise Refused(f"{organization!r} is no id of an organization: they begin with org_")
        profile = None if self.api_key else config.load(self.file, self.profile)
        if profile is not None and (not key or self.profile != "default"):
            if not _same(profile.base_url, self.address):
                raise NotSignedIn(f"you are signed in at {profile.base_url}, not at {self.address}: run `inferhouse login` there")
            profile = self._fresh(profile)
            return Client(profile.base_url, profile.token, organization or profile.organization)
        if key:
            return Client(self.address, key, organization)
        raise NotSignedIn("you are not signed in: run `inferhouse login`, or set INFERHOUSE_ADMIN_KEY to a key of this API")

    def anonymous(self) -> Client:
        """A client of nobody."""
        return Client(self.address)

    def confirm(self, question: str) -> None:
        """Ask before something is destroyed. Raises: Refused."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Refused(f"{question} There is no terminal to answer at: say --yes to go on.")
        if output.ask(f"{question} [y/N] ").lower() not in {"y", "yes"}:
            raise Refused("Nothing was done.")

    def _fresh(self, profile: Profile) -> Profile:
        """The profile with a token that is not old; one run replaces it, others wait and read it."""
        if profile.expires_at <= time.time():
            raise NotSignedIn("your session has ended: run `inferhouse login`")
        if time.time() < profile.rotated_at + ROTATE_S:
            return profile
        with config.locked(self.file):
            latest = config.load(self.file, self.profile)
            if latest is None or time.time() < latest.rotated_at + ROTATE_S:
                return latest or profile
            with Client(latest.base_url, latest.token) as client:
                try:
                    session = client.login.rotate()
                except ApiError as error:
                    if error.status != 401:
                        raise
                    raise NotSignedIn("your session has ended: run `inferhouse login`") from error
            fresh = replace(latest, token=session["token"], rotated_at=int(time.time()))
            config.save(self.file, self.profile, fresh)
            return fresh


def _fits_a_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _same(first: str, second: str) -> bool:
    return first.rstrip("/") == second.rstrip("/")
