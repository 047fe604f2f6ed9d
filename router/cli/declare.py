"""`apply -f` and `diff -f`: make an organization what a file says, or say what that would change."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from router.cli import output
from router.cli.client import ApiError, Client, Unreachable
from router.cli.context import Context
from router.cli.declaration import Invalid, read
from router.cli.output import SECRETS, Format
from router.cli.plan import Planner, Step, is_gone

DIFFERS = 7

File = Annotated[Path, typer.Option("--file", "-f", help="YAML; see docs/how-to/declare-an-organization.md.")]
Prune = Annotated[bool, typer.Option("--prune", help="Take away what the file's lists do not name.")]
Output = Annotated[Format | None, typer.Option("--output", "-o", help="table or json.")]


def diff(context: typer.Context, file: File, prune: Prune = False, form: Output = None) -> None:
    """What `apply` would change. Exit code 7 where there is something."""
    asked: Context = context.obj
    declared = read(file)
    with asked.client() as client:
        steps = Planner(client, declared, prune=prune).steps()
    _show(steps, form or asked.output)
    if steps:
        raise typer.Exit(DIFFERS)


def apply(  # noqa: PLR0917 - typer calls it by its names
    context: typer.Context,
    file: File,
    prune: Prune = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    secrets: Annotated[
        Path | None, typer.Option("--secrets", help="Write keys and passwords that are made to this file.")
    ] = None,
    form: Output = None,
) -> None:
    """Make the organization what the file says. A second time there is nothing to do."""
    asked: Context = context.obj
    declared = read(file)
    with asked.client() as client:
        steps = Planner(client, declared, prune=prune).steps()
        _show(steps, form or asked.output)
        if not steps:
            return
        if not yes:
            asked.confirm(f"This will make {len(steps)} changes.")
        with _opened(secrets) as kept:
            _make(client, steps, kept)


def _show(steps: list[Step], form: Format) -> None:
    if form is Format.TABLE:
        for step in steps:
            output.line(str(step))
        output.note(f"{len(steps)} changes." if steps else "Nothing to do: it is as the file says.")
        return
    rows = [
        {
            "action": step.action,
            "kind": step.kind,
            "name": step.name,
            "changes": {name: {"before": before, "after": after} for name, (before, after) in step.changes.items()},
        }
        for step in steps
    ]
    output.rows(rows, ("action", "kind", "name", "changes"), form)


@contextlib.contextmanager
def _opened(secrets: Path | None) -> Iterator[TextIO | None]:
    """The file for secrets, for its owner's eyes only, before the first of them is made: none may be lost.

    Raises: Invalid: it cannot be written, or is somebody else's.
    """
    if secrets is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open(secrets, "a", opener=lambda path, flags: os.open(path, flags, 0o600)))
            os.fchmod(opened.fileno(), 0o600)  # it may have been there
        except OSError as error:
            raise Invalid(f"{secrets} cannot be written: {error.strerror}. Nothing was changed.") from error
        yield opened


def _make(client: Client, steps: list[Step], secrets: TextIO | None) -> None:
    """Every step in order. One that fails ends it: the steps before are done, and a second `apply` goes on."""
    from rich.progress import Progress  # noqa: PLC0415 - loaded only where it is shown

    made: list[dict[str, Any]] = []
    done = 0
    try:
        with Progress(console=_console(), transient=True) as progress:
            for step in progress.track(steps, description="Applying"):
                _run(step, made)
                done += 1
    except (ApiError, Unreachable):
        output.note(f"{done} of {len(steps)} changes were made. Not made: {steps[done]}, and what follows. Apply again to go on.")
        raise
    finally:
        _keep(made, secrets)
    output.note(f"{done} changes were made at {client.base_url}.")


def _run(step: Step, made: list[dict[str, Any]]) -> None:
    try:
        answer = step.run()
    except ApiError as error:
        if step.action != "delete" or not is_gone(error):
            raise
        return
    found = {name: answer[name] for name in SECRETS if isinstance(answer, dict) and answer.get(name)}
    if found:
        made.append({"kind": step.kind, "name": step.name, "id": answer.get("id"), **found})


def _keep(made: list[dict[str, Any]], secrets: TextIO | None) -> None:
    """Secrets never go to the terminal: a log of CI would keep them."""
    if not made:
        return
    if secrets is None:
        names = ", ".join(f"{entry['kind']} {entry['name']}" for entry in made)
        output.note(f"Secrets were made and not shown ({names}): say --secrets FILE, or rotate them to see new ones.")
        return
    secrets.writelines(json.dumps(entry) + "\n" for entry in made)
    output.note(f"Secrets are in {secrets.name}.")


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(stderr=True)
