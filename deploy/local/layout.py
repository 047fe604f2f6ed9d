"""Where everything lies. Downloads are shared by the instances of a checkout; the rest belongs to one instance."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local.account import Account
from deploy.local.errors import PreflightFailed

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one instance. `state` holds what is its own, `shared` what was downloaded."""

    root: Path
    shared: Path
    state: Path
    code: Path
    """What the services run: the checkout, or a copy of it where their user cannot look into the checkout."""

    @classmethod
    def of(cls, state: Path | None) -> "Layout":
        shared = (ROOT / ".local").resolve()
        mine = (ROOT / state).resolve() if state else shared
        copy = mine / "code"
        return cls(ROOT, shared, mine, copy if copy.is_dir() else ROOT)

    @property
    def instance(self) -> str:
        """Marks every process of this instance."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:12]

    @property
    def python(self) -> Path:
        return Path(sys.prefix).resolve() / "bin" / "python"

    @property
    def runtime(self) -> Path:
        return self.shared / "runtime"

    @property
    def engine_environment(self) -> Path:
        return self.shared / "engine-venv"

    @property
    def models(self) -> Path:
        return self.shared / "models"

    @property
    def pycache(self) -> Path:
        return self.state / "cache" / "pycache"

    @property
    def home(self) -> Path:
        """HOME of the services."""
        return self.state / "cache" / "home"

    @property
    def run(self) -> Path:
        """What describes the running instance."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def work(self) -> Path:
        """Each process's own folder, in which it runs and keeps its data."""
        return self.state / "work"

    @property
    def socket(self) -> Path:
        """The supervisor's socket; elsewhere when the state's path is longer than a socket's name can be."""
        inside = self.run / "supervisor.sock"
        return inside if len(str(inside)) < 100 else Path(f"/tmp/inferhouse-{self.instance}/supervisor.sock")  # noqa: S108


def prepare(layout: Layout, account: Account) -> Layout:
    """Make the instance's folders, owned by the services' user; copy the code where that user cannot look into the checkout.

    Raises: PreflightFailed: the services' user cannot reach the state folder.
    """
    account.folder(layout.state)
    for folder in (layout.home, layout.pycache):
        account.folder(folder)
    for folder in (layout.run, layout.logs, layout.work, layout.socket.parent):
        account.folder(folder, 0o700)
    if not account.can_enter(layout.run):
        raise PreflightFailed(
            f"the services' user {account.name} cannot enter {layout.state}: "
            "set INFERHOUSE_STATE_DIR to a folder that other users may pass through"
        )
    if account.can_enter(layout.root) and account.can_enter(layout.root / "deploy" / "local"):
        return layout
    copy = layout.state / "code"
    _copy_code(layout.root, copy)
    return Layout(layout.root, layout.shared, layout.state, copy)


def _copy_code(root: Path, copy: Path) -> None:
    """A fresh copy of the files that git knows or does not ignore, readable for everybody."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    shutil.rmtree(copy, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, copy / name)
            (copy / name).chmod(0o755 if (root / name).stat().st_mode & 0o100 else 0o644)
