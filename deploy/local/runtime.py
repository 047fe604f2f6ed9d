"""PostgreSQL 17 with TimescaleDB, and Redis 8, out of Debian 13's packages into a private folder.

Nothing of the system is touched, and no root is needed: apt resolves and downloads into a folder of its own, and only the
programs, their libraries and PostgreSQL's data files are taken out of the packages. The programs are made to use the
loader and C library that came with them, which are newer than Debian 12's.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.account import run
from deploy.local.errors import PreflightFailed, StepFailed

RELEASE = "trixie"
PACKAGES = ("postgresql-17", "postgresql-17-timescaledb", "redis-server")
RECIPE = "1"  # raise to have every checkout build its runtime again
POSTGRES_BIN = Path("usr/lib/postgresql/17/bin")
POSTGRES_LIB = Path("usr/lib/postgresql/17/lib")
POSTGRES_SHARE = Path("usr/share/postgresql/17")
REDIS_BIN = Path("usr/bin")
_SCRATCH = "runtime-build-"
_APT_TIMEOUT_S = "30"  # of one connection attempt; without it a machine that drops packets hangs for minutes


def build(folder: Path) -> bool:
    """Make the runtime in `folder`; False when it was there already. About 8 s and 100 MB of download.

    Raises: PreflightFailed: no Debian source or key on this machine, or no way to download.
    """
    folder = folder.resolve()
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if is_complete(folder):
            return False
        for broken in [folder, *folder.parent.glob(f"{_SCRATCH}*")]:  # of a build that was interrupted
            shutil.rmtree(broken, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder.parent) as scratch:
            packages = Path(scratch) / "packages"
            unpacked = Path(scratch) / "unpacked"
            fresh = Path(scratch) / "runtime"
            _download(packages)
            for archive in sorted((packages / "cache/archives").glob("*.deb")):
                run(["dpkg-deb", "--extract", archive, unpacked])
            _take(unpacked, fresh, folder)
            Path(scratch).chmod(0o755)
            fresh.rename(folder)
        _stamp(folder).write_text(_stamp_text(folder))
    return True


def is_complete(folder: Path) -> bool:
    """Whether the runtime is there, of this recipe, and where it was built for: its programs hold absolute paths."""
    stamp = _stamp(folder)
    return stamp.is_file() and stamp.read_text() == _stamp_text(folder)


def _stamp(folder: Path) -> Path:
    return folder / "complete"


def _stamp_text(folder: Path) -> str:
    return f"recipe {RECIPE} in {folder.resolve()}: {RELEASE} {' '.join(PACKAGES)}\n"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two `up` in one checkout share the runtime: the second waits for the first."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(folder: Path) -> None:
    """Fetch the packages and all they depend on with apt, under a state of its own that knows no installed package."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    status = folder / "state/status"
    status.touch()
    site, keyring = _debian_source()
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={keyring}] {site} {RELEASE} main\n")
    settings = {
        "Dir::State": folder / "state", "Dir::State::status": status, "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "/dev/null", "Dir::Log": folder / "state",
        "APT::Sandbox::User": "root", "APT::Install-Recommends": "0", "Acquire::Languages": "none",
        "Acquire::Retries": "2", "Acquire::http::Timeout": _APT_TIMEOUT_S, "Acquire::https::Timeout": _APT_TIMEOUT_S,
        "APT::Update::Error-Mode": "any",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    try:
        run(["apt-get", *options, "--quiet=2", "update"])
        run(["apt-get", *options, "--quiet=2", "--yes", "--download-only", "install", *PACKAGES])
    except StepFailed as error:
        raise PreflightFailed(f"no network to Debian's packages, or a broken mirror ({site}): {error}") from error


def _debian_source() -> tuple[str, Path]:
    """Address of the Debian mirror that this machine's apt uses, and the file with Debian's keys."""
    listed = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]).stdout
    sites = [line.split()[2] for line in listed.splitlines() if line.startswith("Debian Debian ")]
    if not sites:
        raise PreflightFailed("apt knows no Debian mirror: put one into /etc/apt/sources.list and run `apt-get update`")
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not keyring.is_file():
        raise PreflightFailed(f"{keyring} is missing: ask an administrator for `apt-get install debian-archive-keyring`")
    return sites[0], keyring


def _take(unpacked: Path, fresh: Path, final: Path) -> None:
    """Copy what is run or read at run time from the unpacked packages; perl, LLVM, locales and documents stay behind."""
    for part in (POSTGRES_BIN, POSTGRES_LIB, POSTGRES_SHARE):
        shutil.copytree(
            unpacked / part, fresh / part, symlinks=False, ignore=shutil.ignore_patterns("bitcode", "llvmjit*", "pgxs", "man")
        )
    (fresh / REDIS_BIN).mkdir(parents=True)
    for program in ("redis-server", "redis-cli"):
        shutil.copy(unpacked / REDIS_BIN / program, fresh / REDIS_BIN / program)
    triplet = f"usr/lib/{sys.implementation._multiarch}"
    libraries = fresh / triplet
    libraries.mkdir()
    programs = [path for part in (POSTGRES_BIN, REDIS_BIN) for path in (fresh / part).iterdir() if _is_elf(path)]
    plugins = [path for path in (fresh / POSTGRES_LIB).glob("*.so") if _is_elf(path)]
    _take_libraries([*programs, *plugins], [unpacked / triplet, unpacked / POSTGRES_LIB], libraries)
    home = final / triplet
    for path in [*plugins, *libraries.iterdir()]:
        if not path.name.startswith("ld-linux"):
            _patchelf("--set-rpath", home, "--force-rpath", path)
    for path in programs:
        loader = Path(_patchelf("--print-interpreter", path)).name
        _patchelf("--set-interpreter", home / loader, "--set-rpath", home, "--force-rpath", path)


def _take_libraries(needed_by: list[Path], shelves: list[Path], into: Path) -> None:
    """Copy every library that the given files need, and what those need in turn."""
    open_files = list(needed_by)
    while open_files:
        for name in _patchelf("--print-needed", open_files.pop()).split():
            source = next((shelf / name for shelf in shelves if (shelf / name).is_file()), None)
            if source and not (into / name).exists():
                shutil.copy(source, into / name)
                open_files.append(into / name)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _patchelf(*words: str | Path) -> str:
    """Run the patchelf of this environment, or the system's."""
    beside = Path(sys.executable).with_name("patchelf")
    program = str(beside) if beside.exists() else shutil.which("patchelf")
    if program is None:
        raise PreflightFailed("patchelf is missing: install requirements/app.txt, or `apt-get install patchelf`")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise StepFailed(f"patchelf {words[-1]}: {done.stderr.strip()}")
    return done.stdout.strip()
