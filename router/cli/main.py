"""The `inferhouse` command: everything that the management API can do, for people and for scripts.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not signed in or not allowed, 4 not found, 5 conflict or changed
meanwhile, 6 unreachable, 7 differences found, 8 a check found something.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

import typer

from router.cli import commands, declare, doctor, invoices, login, output, programs
from router.cli.client import ApiError, Unreachable
from router.cli.config import ConfigError
from router.cli.context import Context, NotSignedIn, Refused
from router.cli.declaration import Invalid
from router.cli.operations import OPERATIONS
from router.cli.output import Format

FAILED, USAGE, NOT_ALLOWED, NOT_FOUND, CONFLICT, UNREACHABLE = range(1, 7)
_BY_STATUS = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND, 409: CONFLICT, 412: CONFLICT, 503: UNREACHABLE}
_BY_ERROR: Mapping[type[Exception], int] = {
    ApiError: FAILED,
    NotSignedIn: NOT_ALLOWED,
    ConfigError: NOT_ALLOWED,
    Unreachable: UNREACHABLE,
    Refused: USAGE,
    Invalid: USAGE,
}
_OPTIONS = {"OpenAI-Organization": "--organization, or INFERHOUSE_ORGANIZATION", "If-Match": "--if-version"}
"""How a header of the API is said here."""
_NOUNS = {
    "account": "Your own account.",
    "admin-key": "Keys for this API.",
    "alias": "Your organization's own names for models.",
    "audit": "Who changed what, and whether the log is whole.",
    "budget": "What may be spent.",
    "credit": "What invoices can be paid with.",
    "demo": "Something to look at.",
    "webhook": "Where events are sent.",
    "alert": "What the organization was told of.",
    "alert-recipients": "Who gets mail of it.",
    "delivery": "What came of each event at each receiver.",
    "discount": "What organizations do not pay of their lines.",
    "engine": "What answers requests.",
    "invite": "Invite people.",
    "invoice": "What was invoiced, and how a month becomes an invoice.",
    "key": "Keys of projects, for inference.",
    "limit": "How fast it may go.",
    "member": "People of a project.",
    "model": "What can be asked.",
    "org": "Organizations.",
    "platform-alias": "Names for models, for everybody.",
    "platform-key": "Keys of the whole installation.",
    "price": "What tokens cost.",
    "project": "Projects.",
    "service-account": "Accounts that outlive people.",
    "session": "Where you are signed in.",
    "sql-access": "Read-only SQL logins.",
    "tax": "Taxes on invoices.",
    "volume-tier": "What costs less above a quantity of a month.",
    "user": "People of the organization.",
}

app = typer.Typer(
    name="inferhouse",
    help="Inferhouse from the command line. Begin with `inferhouse login`, or set INFERHOUSE_ADMIN_KEY to a key.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(  # noqa: PLR0917 - typer calls it by its names
    context: typer.Context,
    base_url: Annotated[str | None, typer.Option("--base-url", help="The API, with /v1. Variable: INFERHOUSE_BASE_URL.")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", help="Variable: INFERHOUSE_ADMIN_KEY.")] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", help="For who has several. Variable: INFERHOUSE_ORGANIZATION.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="Name of a sign-in, for who has several.")] = "default",
    form: Annotated[Format, typer.Option("--output", "-o", help="How results are printed.")] = Format.TABLE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something is destroyed.")] = False,
) -> None:
    """Read what every command has in common."""
    context.obj = Context(base_url, api_key, organization, profile, form, yes)


def _assemble() -> None:
    groups: dict[str, typer.Typer] = {}
    for operation in OPERATIONS:
        if operation.hidden:
            continue
        if not operation.verb:
            app.command(operation.noun, help=operation.help)(commands.command(operation))
            continue
        _group(groups, operation.noun).command(operation.verb, help=operation.help)(commands.command(operation))
    groups["invoice"].command("pdf")(invoices.pdf)
    groups["invoice"].command("csv")(invoices.csv)
    explained = typer.Typer(no_args_is_help=True)
    explained.command("invoice-line")(invoices.invoice_line)
    app.add_typer(explained, name="explain", help="Where a figure comes from.")
    for program in programs.PROGRAMS:
        group, name = (_group(groups, program.noun), program.verb) if program.verb else (app, program.noun)
        group.command(name, help=program.help, context_settings=programs.SETTINGS)(programs.command(program))
    groups["account"].command("password")(login.change_password)
    groups["audit"].command("verify")(doctor.verify)
    roles = typer.Typer(no_args_is_help=True)
    roles.command("list")(doctor.roles)
    app.add_typer(roles, name="role", help="Who may do what.")
    for function in (login.login, login.logout, login.whoami, declare.apply, declare.diff, doctor.doctor):
        app.command()(function)


def _group(groups: dict[str, typer.Typer], noun: str) -> typer.Typer:
    """The verbs of a noun, added to the command when its first verb comes."""
    if noun not in groups:
        groups[noun] = typer.Typer(no_args_is_help=True)
        app.add_typer(groups[noun], name=noun, help=_NOUNS[noun])
    return groups[noun]


_assemble()


def main() -> int:
    """Run; the exit code. Errors are a line or two on stderr, never a traceback."""
    try:
        app(prog_name="inferhouse")  # ends the process itself: 0, 2 for wrong usage, or what a command said
    except tuple(_BY_ERROR) as error:
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    """Say what is wrong; the exit code of it."""
    if isinstance(error, ApiError):
        param = _OPTIONS.get(error.param or "", error.param)
        output.note(f"{error.message} ({param})" if param else error.message)
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.request_id:
            output.note(f"request id {error.request_id}")
        return _BY_STATUS.get(error.status, FAILED)
    if isinstance(error, Unreachable):
        output.note(f"{error}: is it up (`make status`), and is INFERHOUSE_BASE_URL right?")
    else:
        output.note(str(error))
    return _BY_ERROR[type(error)]
