"""What the command knows between two runs: where the API is and who is signed in. One file, for its owner's eyes only."""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(Exception):
    """The file cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One installation, as one person. Instants are Unix seconds."""

    base_url: str
    token: str = field(repr=False)
    email: str
    expires_at: int
    rotated_at: int
    organization: str | None = None


def path(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/inferhouse/credentials.json`."""
    home = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".config")
    return Path(home) / "inferhouse" / "credentials.json"


def load(file: Path, name: str) -> Profile | None:
    """The profile, or None. Raises: ConfigError: others may read the file, or it is damaged."""
    profile = _read(file).get(name)
    if profile is None:
        return None
    try:
        return Profile(**profile)
    except TypeError as error:
        raise ConfigError(f"{file} is of another version: sign in again with `inferhouse login`") from error


def save(file: Path, name: str, profile: Profile | None) -> None:
    """Keep a profile, or forget it. Raises: ConfigError."""
    profiles = _read(file)
    if profile is None:
        profiles.pop(name, None)
    else:
        profiles[name] = asdict(profile)
    with _explained(file):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.parent.chmod(0o700)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            json.dump({"profiles": profiles}, opened, indent=2)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Only one run at a time: a token is rotated once."""
    with _explained(file):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file.with_name(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(file: Path) -> dict[str, Any]:
    try:
        mode = file.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigError(f"others on this machine may read {file}: run `chmod 600 {file}`, and sign in again if they have")
        profiles = json.loads(file.read_text())["profiles"]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is damaged: remove it, and sign in again with `inferhouse login`") from error
    if not isinstance(profiles, dict):
        raise ConfigError(f"{file} is damaged: remove it, and sign in again with `inferhouse login`")
    return profiles


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}; set XDG_CONFIG_HOME to a folder of yours") from error
