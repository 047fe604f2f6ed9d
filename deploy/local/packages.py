"""Installs a lock with uv, from wherever this machine's pip gets its packages. Standard library only: it runs first.

`python -m deploy.local.packages ENVIRONMENT LOCK`
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_SOURCES = {"index-url": "--default-index", "extra-index-url": "--index", "find-links": "--find-links"}


def pip_settings() -> dict[str, str]:
    """pip's own configuration by option name, variables before files; uv reads none of it."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout  # fmt: skip
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if name.startswith(":env:") or option not in settings:
            settings[option] = str(ast.literal_eval(value))
    return settings


def source_options(settings: Mapping[str, str]) -> list[str]:
    """uv's options for pip's indexes and folders. All are looked into, as pip does; the hashes say which file is right."""
    options = [word for name, flag in _SOURCES.items() for value in settings.get(name, "").split() for word in (flag, value)]
    options += [word for host in settings.get("trusted-host", "").split() for word in ("--allow-insecure-host", host)]
    return [*options, "--index-strategy", "unsafe-best-match"] if options else []


def sync_command(environment: Path, lock: Path, settings: Mapping[str, str]) -> list[str]:
    """The command that makes the environment hold exactly what the lock lists."""
    uv = Path(sys.executable).with_name("uv")
    python = environment / "bin" / "python"
    return [
        str(uv), "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), *source_options(settings), str(lock)
    ]  # fmt: skip


def sync_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The variables under which uv trusts and reaches what pip does."""
    extra = {"SSL_CERT_FILE": settings.get("cert"), "ALL_PROXY": settings.get("proxy"), "UV_HTTP_TIMEOUT": "60"}
    return {**{name: value for name, value in extra.items() if value}, **os.environ}


def main() -> int:
    environment, lock = Path(sys.argv[1]), Path(sys.argv[2])
    settings = pip_settings()
    command = sync_command(environment, lock, settings)
    return subprocess.run(command, env=sync_environment(settings), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
