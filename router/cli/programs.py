"""Commands that need the warehouse itself: each is a program of its own, started here with what follows its name.

The command installs without drivers and data packages; these programs need them, and the owner's connection string:
`--database-url`, else WAREHOUSE_DATABASE_URL, else INFERHOUSE_DATABASE_URL, as `.local/env` has it.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import typer

from router.cli.context import Context, Refused

ADDRESS, LOCAL_ADDRESS = "WAREHOUSE_DATABASE_URL", "INFERHOUSE_DATABASE_URL"
_NEEDED = "polars"  # of the packages that only these programs need, the one that each installation with them has
# Everything behind the name is the program's, its --help too.
SETTINGS = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@dataclass(frozen=True, slots=True)
class Program:
    """A command `noun verb` that is `python -m module`; without a verb it is called by its noun alone."""

    noun: str
    verb: str
    module: str
    help: str
    asks: bool = False
    """Whether it takes --yes; then `inferhouse --yes` hands it on."""


PROGRAMS = (
    Program("demo", "history", "orchestration.history", "Fill an empty warehouse with months of usage.", asks=True),
    Program("archive", "", "orchestration.archive", "Days to Parquet, checked, dropped from the database, brought back."),
    Program("verify-usage", "", "orchestration.verify_usage", "Are the raw rows those whose daily digests were chained?"),
    Program("replay", "", "orchestration.replay", "Compute a month again in an empty database, and compare."),
    Program("reprice", "", "orchestration.pricing.reprice", "Price past months by a corrected book, and say what differs."),
    Program("what-if", "", "orchestration.what_if", "What a month would have cost under other prices."),
    Program("dry-run", "", "orchestration.dry_run", "Which requests of a month a limit or budget would have blocked."),
)


def command(program: Program) -> Callable[[typer.Context], None]:
    """What typer calls for a program; register it with `SETTINGS`."""

    def run(context: typer.Context) -> None:
        own: Context = context.obj
        arguments = [*context.args, *(["--yes"] if program.asks and own.yes else [])]
        raise typer.Exit(start(program, arguments, os.environ))

    run.__doc__ = program.help
    return run


def start(program: Program, arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end with our input and output; its exit code.

    Raises: Refused: the packages that it needs are not installed.
    """
    if importlib.util.find_spec(_NEEDED) is None:
        name = f"{program.noun} {program.verb}".strip()
        raise Refused(f"`inferhouse {name}` works on the warehouse itself: pip install 'inferhouse[orchestration]'")
    address = environment.get(ADDRESS) or environment.get(LOCAL_ADDRESS)
    env = {**environment, **({ADDRESS: address} if address else {})}
    # -P: what lies in the current folder is not ours to import.
    with subprocess.Popen([sys.executable, "-P", "-m", program.module, *arguments], env=env) as child:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # the program has got it too, and tidies up
                return child.wait()
