"""Is everything well: `doctor`, `audit verify`, and the table of who may do what."""

import ssl
import time
from typing import Annotated, Any

import typer

from router.cli import output
from router.cli.client import Client
from router.cli.context import Context
from router.cli.output import Format
from warehouse.identity.policy import OWN, policy

FOUND = 8
SKEW_S_MAX = 5.0
Output = Annotated[Format | None, typer.Option("--output", "-o", help="table, json or csv.")]


def doctor(context: typer.Context, form: Output = None) -> None:
    """Is everything well? Database, migrations, clocks, journal, prices, engines, marts. Exit code 8 where something is not."""
    asked: Context = context.obj
    with asked.client() as client:
        checks = [_address(client), _clock(client)]
        checks += client.platform.health()["checks"]
    output.rows(checks, ("name", "status", "message", "what_to_do"), form or asked.output)
    failed = [check["name"] for check in checks if check["status"] == "failed"]
    if failed:
        output.note(f"Not well: {', '.join(failed)}.")
        raise typer.Exit(FOUND)


def _check(name: str, status: str, message: str, what_to_do: str | None = None) -> dict[str, Any]:
    return {"name": name, "status": status, "message": message, "what_to_do": what_to_do}


def _address(client: Client) -> dict[str, Any]:
    if client.base_url.startswith("https://"):
        return _check("address", "ok", f"{client.base_url} answers over TLS ({ssl.OPENSSL_VERSION})")
    host = client.base_url.removeprefix("http://").split("/")[0].rpartition(":")[0]
    if host in {"127.0.0.1", "localhost", "[::1]"}:
        return _check("address", "ok", f"{client.base_url} answers, on this machine")
    return _check("address", "warning", f"{client.base_url} is not encrypted", "put TLS in front: keys travel readable")


def _clock(client: Client) -> dict[str, Any]:
    there_s = client.server_time_s
    if there_s is None:
        return _check("this machine's clock", "warning", "the server does not say what time it is")
    apart_s = abs(time.time() - there_s)
    if apart_s > SKEW_S_MAX:
        return _check("this machine's clock", "failed", f"{apart_s:.0f} s apart from the server's", "set it by NTP")
    return _check("this machine's clock", "ok", "as the server's")


def verify(
    context: typer.Context,
    form: Output = None,
    seen: Annotated[str | None, typer.Option("--seen", help="SEQUENCE:MAC of an earlier check, kept elsewhere.")] = None,
) -> None:
    """Is any entry of the audit log altered, missing or reordered? Exit code 8 where one is."""
    from rich.console import Console  # noqa: PLC0415 - loaded only where it is shown

    asked: Context = context.obj
    known = None
    if seen is not None:
        sequence, _, mac = seen.partition(":")
        if not sequence.isdigit() or len(mac) != 64:
            raise typer.BadParameter("write SEQUENCE:MAC, as an earlier check printed it", param_hint="--seen")
        known = {"sequence": int(sequence), "mac": mac}
    with asked.client() as client, Console(stderr=True).status("Reading the whole log"):
        path = "/platform/audit_logs/verify"
        found = client.request("POST", path, body={"seen": known} if known else {})
    if (form or asked.output) is Format.TABLE:
        output.rows(found["findings"], ("sequence", "what"), Format.TABLE) if found["findings"] else None
    else:
        output.one(found, form or asked.output)
    if found["findings"]:
        output.note(f"{len(found['findings'])} findings in {found['entries']} entries: the log was changed.")
        raise typer.Exit(FOUND)
    head = found["head"]
    output.note(f"{found['entries']} entries, each as it was written.")
    if head:
        output.note(f"Keep elsewhere, for --seen of a later check: {head['sequence']}:{head['mac']}")


def roles(context: typer.Context, form: Output = None) -> None:
    """Permissions of each role, as the API decides by."""
    has = policy()
    columns = {**has.organization_roles, **{f"project {role}": names for role, names in has.project_roles.items()}}
    table = [
        {
            "permission": permission,
            **{
                role: "yes" if permission in names else "own" if permission + OWN in names else ""
                for role, names in columns.items()
            },
        }
        for permission in sorted(has.organization)
    ]
    output.rows(table, ("permission", *columns), form or context.obj.output)
