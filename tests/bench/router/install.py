"""The other routers, each in an environment of its own: what they need disagrees with ours and with each other."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.packages import pip_settings, sync_command, sync_environment
from tests.services import ROOT

HOME = ROOT / ".local" / "bench"
PORTKEY = Path(__file__).parent / "portkey"
INSTALL_S_MAX = 900


def debian_packages(names: Sequence[str]) -> None:
    """Install packages of Debian, as root. Raises: subprocess.CalledProcessError."""
    print(f"installing {', '.join(names)}", file=sys.stderr)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["-y", "--no-install-recommends", "install", *names]):
        subprocess.run(["apt-get", "-qq", *command], env=env, check=True, timeout=INSTALL_S_MAX, stdout=subprocess.DEVNULL)
    if "nginx-light" in names and Path("/run/systemd/system").is_dir():  # it is wanted as a program, not as a service
        subprocess.run(["systemctl", "disable", "--now", "nginx"], check=True, timeout=INSTALL_S_MAX)


def _stamped(folder: Path, wanted: str) -> bool:
    stamp = folder / "installed"
    return stamp.is_file() and stamp.read_text() == wanted


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def python_peer(name: str) -> Path:
    """The environment with requirements/bench-NAME.txt in it; made when missing or of another lock."""
    folder, lock = HOME / name, ROOT / "requirements" / f"bench-{name}.txt"
    wanted = _digest(lock)
    if _stamped(folder, wanted):
        return folder
    print(f"installing {name}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    settings = pip_settings()
    subprocess.run(sync_command(folder, lock, settings), env=sync_environment(settings), check=True, timeout=INSTALL_S_MAX)
    (folder / "installed").write_text(wanted)
    return folder


def node_peer() -> Path:
    """The folder with Portkey's gateway, as its lock has it; made when missing or of another lock."""
    folder, files = HOME / "portkey", [PORTKEY / "package.json", PORTKEY / "package-lock.json"]
    wanted = _digest(*files)
    if _stamped(folder, wanted):
        return folder
    print("installing portkey", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"],
        cwd=folder, env=dict(os.environ), check=True, timeout=INSTALL_S_MAX, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (folder / "installed").write_text(wanted)
    return folder
