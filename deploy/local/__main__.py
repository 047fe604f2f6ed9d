"""`python -m deploy.local COMMAND`: what the Makefile's targets call. Results to stdout, progress and errors to stderr."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local import down, runtime, status
from deploy.local.account import run, service_account
from deploy.local.credentials import DEMO_EMAIL
from deploy.local.errors import PreflightFailed
from deploy.local.layout import Layout
from deploy.local.preflight import read_settings
from deploy.local.settings import LocalSettings, read_dotenv
from deploy.local.steps import Progress
from deploy.local.up import Started, locked, up
from warehouse.base.errors import InferhouseError

CHROMIUM = Path("/usr/bin/chromium")


def run_up(settings: LocalSettings, handed_down: dict[str, str], _: argparse.Namespace) -> int:
    progress = Progress()
    started = up(settings, handed_down, progress)
    progress.say("up")
    print(_report(started))
    return 0


def _report(started: Started) -> str:
    out = started.outputs
    state = started.instance.layout.state
    return f"""
{started.bill}

  API      {out["INFERHOUSE_BASE_URL"]}   (any OpenAI SDK; key below, model {out["INFERHOUSE_MODEL"]})
  key      {out["INFERHOUSE_API_KEY"]}
  admin    {out["INFERHOUSE_ADMIN_KEY"]}
  portal   {out["INFERHOUSE_PORTAL_URL"]}   {DEMO_EMAIL}  {out["INFERHOUSE_PORTAL_PASSWORD"]}
  Dagster  {out["INFERHOUSE_DAGSTER_URL"]}
  SQL      {out["INFERHOUSE_SQL_URL"]}

All of it is in {state / "env"}: `set -a; . {state / "env"}; set +a`, then `bin/inferhouse project list`.
`make status`, `make logs`, `make down`."""


def run_down(settings: LocalSettings, _: dict[str, str], __: argparse.Namespace) -> int:
    layout = Layout.of(settings.state_dir)
    if not layout.run.is_dir():
        print("nothing was ever started here")
        return 0
    progress = Progress()
    with locked(layout):
        left = down.stop(layout)
    progress.say(f"down{f'; {len(left)} leftover processes ended' if left else ''}")
    return 0


def run_reset(settings: LocalSettings, handed_down: dict[str, str], args: argparse.Namespace) -> int:
    layout = Layout.of(settings.state_dir)
    if not args.yes:
        raise PreflightFailed(f"reset deletes databases, journal, logs and keys in {layout.state}: say --yes (make reset YES=1)")
    run_down(settings, handed_down, args)
    down.forget(layout)
    print(f"{layout.state} is empty but for downloads")
    return 0


def run_status(settings: LocalSettings, _: dict[str, str], __: argparse.Namespace) -> int:
    """Exit code 0 when everything is well, 1 when something is not, 3 when nothing runs (as systemctl has it)."""
    found = status.conditions(Layout.of(settings.state_dir))
    if not found:
        print("down")
        return 3
    print("\n".join(map(str, found)))
    return 0 if all(condition.is_well for condition in found) else 1


def run_logs(settings: LocalSettings, _: dict[str, str], args: argparse.Namespace) -> int:
    logs = Layout.of(settings.state_dir).logs
    known = sorted(path.stem for path in logs.glob("*.log"))
    wrong = [name for name in args.names if name not in known]
    if wrong or not known:
        raise PreflightFailed(f"no log of {', '.join(wrong) or 'anything'}; there are: {', '.join(known) or 'none'}")
    follow = ["--follow=name"] if args.follow else []
    names = args.names or known
    files = [logs / f"{name}.log" for name in names]
    return subprocess.run(["tail", "-n", str(args.lines), *follow, *files], check=False).returncode


def run_psql(settings: LocalSettings, _: dict[str, str], args: argparse.Namespace) -> int:
    layout = Layout.of(settings.state_dir)
    url = read_dotenv(layout.state / "env").get("INFERHOUSE_SQL_URL" if args.demo else "INFERHOUSE_DATABASE_URL")
    if url is None:
        raise PreflightFailed("there is no instance here: `make up` first")
    program = layout.runtime / runtime.POSTGRES_BIN / "psql"
    if not program.exists():
        raise PreflightFailed("no psql was unpacked here, since the database is given from outside: use a client of your own")
    os.execv(program, [str(program), url, *args.arguments])  # noqa: S606 - psql takes over this terminal


def run_test_services(_: LocalSettings, __: dict[str, str], ___: argparse.Namespace) -> int:
    """What the tests need of the machine: the servers' programs, and a browser."""
    progress = Progress()
    layout = Layout.of(None)
    service_account().folder(layout.shared)
    if runtime.build(layout.runtime):
        progress.say("PostgreSQL 17 with TimescaleDB and Redis 8 unpacked")
    if not CHROMIUM.exists():
        if os.geteuid() != 0:
            raise PreflightFailed("chromium is missing: ask an administrator for `apt-get install chromium`")
        run(["apt-get", "-qq", "update"])
        run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "chromium"])
        progress.say("chromium installed")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m deploy.local", description="The product on one machine without containers.")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, work, text in (
        ("up", run_up, "install what is missing, start everything, answer and bill one request"),
        ("down", run_down, "stop every process"),
        ("status", run_status, "what runs, since when, and whether it is well"),
        ("test-services", run_test_services, "fetch what the tests need of the machine"),
    ):
        commands.add_parser(name, help=text).set_defaults(work=work)
    logs = commands.add_parser("logs", help="the last lines of every process's log, or of those named")
    logs.set_defaults(work=run_logs)
    logs.add_argument("names", nargs="*", metavar="PROCESS")
    logs.add_argument("--follow", action="store_true", help="go on printing what is written")
    logs.add_argument("--lines", type=int, default=20, help="of each log; default: 20")
    psql = commands.add_parser("psql", help="SQL as the owner of the database")
    psql.set_defaults(work=run_psql)
    psql.add_argument("--demo", action="store_true", help="as the demo organization's analyst instead")
    psql.add_argument("arguments", nargs="*", help="handed to psql, after --")
    reset = commands.add_parser("reset", help="down, and delete databases, journal, logs and keys; downloads stay")
    reset.set_defaults(work=run_reset)
    reset.add_argument("--yes", action="store_true", help="really")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when done, 1 for an error that is told on stderr, 130 after an interrupt."""
    os.umask(0o022)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way what was begun is undone
    args = parser().parse_args(argv)
    try:
        settings, handed_down = read_settings(Layout.of(None).root)
        return int(args.work(settings, handed_down, args))
    except InferhouseError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
