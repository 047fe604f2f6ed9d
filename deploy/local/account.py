"""Whom the services run as: a system user of their own when started as root, else whoever started them."""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.errors import PreflightFailed, StepFailed

USER = "inferhouse"
HOME = Path("/var/lib/inferhouse")


@dataclass(frozen=True, slots=True)
class Account:
    """The user of every service, and how a command becomes that user's."""

    name: str
    uid: int
    gid: int
    home: Path

    @property
    def switches(self) -> bool:
        """True where this process is root and the services are not."""
        return os.geteuid() != self.uid

    def argv(self, command: Sequence[str | Path]) -> list[str]:
        """The command as this user: as it is, or through setpriv when this process is root."""
        words = [str(word) for word in command]
        if not self.switches:
            return words
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--", *words]

    def run(self, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as this user and wait for it.

        Raises: StepFailed: it exited with another code than 0; the end of its output is in the message.
        """
        return run(self.argv(command), **options)

    def own(self, path: Path) -> None:
        """Give a file or folder that root has just made to this user."""
        if self.switches:
            os.chown(path, self.uid, self.gid)

    def folder(self, path: Path, mode: int = 0o755) -> Path:
        """Make a folder (and its parents) that this user owns, and return it."""
        if not path.is_dir():
            self.folder(path.parent) if not path.parent.is_dir() else None
            path.mkdir(exist_ok=True)
            path.chmod(mode)
            self.own(path)
        return path

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        """Replace a file as a whole; nobody ever sees half of it, or it with a wider mode."""
        fresh = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write(text)
        fresh.chmod(mode)
        self.own(fresh)
        fresh.replace(path)

    def can_enter(self, path: Path) -> bool:
        """Whether this user can read what lies in a folder (one under a 0700 home it cannot)."""
        return subprocess.run(self.argv(["ls", path]), capture_output=True, check=False).returncode == 0


def service_account() -> Account:
    """The account of the services; as root, the system user is made when it is missing.

    Raises: PreflightFailed: the user cannot be made.
    """
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        return Account(me.pw_name, me.pw_uid, me.pw_gid, Path(me.pw_dir))
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        try:
            run(["useradd", "--system", "--user-group", "--home-dir", HOME, "--shell", "/usr/sbin/nologin", USER])
        except StepFailed as error:
            raise PreflightFailed(f"cannot make the system user {USER} that the services run as: {error}") from error
        entry = pwd.getpwnam(USER)
    account = Account(USER, entry.pw_uid, entry.pw_gid, HOME)
    account.folder(HOME)
    return account


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for it; its output is kept. It ends with the thread that waits for it.

    Raises: StepFailed: it exited with another code than 0, or there is no such program.
    """
    words = [str(word) for word in command]
    bound = ["setpriv", "--pdeathsig", "KILL", "--", *words]
    done = subprocess.run(bound, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        shown = " ".join(words if len(words) < 6 else [words[0], "...", *words[-3:]])
        raise StepFailed(f"`{shown}` ended with {done.returncode}:\n{tail(done.stdout + done.stderr)}")
    return done


def tail(text: str, lines_max: int = 25) -> str:
    """The last lines of a text: enough to see why, short enough to read."""
    return "\n".join(text.strip().splitlines()[-lines_max:])


def service_environment(extra: Mapping[str, str], home: Path, pycache: Path) -> dict[str, str]:
    """The whole environment of a service: nothing of the shell that started it gets in."""
    always = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        # Compiled modules go where the service may write, whoever owns the environment: starts are twice as fast.
        "PYTHONPYCACHEPREFIX": str(pycache),
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
    }
    return {**always, **extra}
