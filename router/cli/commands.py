"""Commands made of the rows of `operations.py`: ids are arguments, values are options."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from router.cli import output, values
from router.cli.client import ApiError
from router.cli.context import Context
from router.cli.operation import Field, Operation
from router.cli.output import Format

_TYPES: Mapping[str, Any] = {"flag": bool} | dict.fromkeys(("texts", "numbers", "roles", "stages", "pairs"), list[str])
_ROTATIONS = frozenset({("key", "rotate"), ("webhook", "rotate")})  # a second one ends the grace of the first
Output = Annotated[Format | None, typer.Option("--output", "-o", help="table, json or csv.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Rows = Annotated[int | None, typer.Option("--rows", min=1, help="At most so many; without it, all.")]


def command(operation: Operation) -> Callable[..., None]:
    """A function with the signature that typer turns into a command."""
    fields = (*operation.body, *operation.query)

    def run(context: typer.Context, **said: Any) -> None:
        try:
            _run(operation, fields, context.obj, said)
        except ApiError as error:
            error.param = next((field.flag for field in fields if field.name == error.param), error.param)
            raise

    parameters = [_parameter("context", typer.Context)]
    parameters += [_parameter(name, Annotated[str, typer.Argument(metavar=name.upper())]) for name in operation.ids]
    parameters += [_option(field) for field in fields]
    if operation.many and not operation.buckets:
        parameters.append(_parameter("rows_max", Rows, None))
    if operation.destroys:
        parameters.append(_parameter("yes", Yes, default=False))
    if operation.verb in {"update", "set"} or (operation.noun, operation.verb) in _ROTATIONS:
        version = Annotated[int | None, typer.Option("--if-version", help="Only if it is still this version.")]
        parameters.append(_parameter("if_version", version, None))
    parameters.append(_parameter("output", Output, None))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = operation.help
    return run


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(field: Field) -> inspect.Parameter:
    kind = _TYPES.get(field.type, str)
    clear = " `none` takes it away." if field.can_clear else ""
    told = typer.Option(field.flag, help=(field.help + clear) or None, show_default=False)
    if field.required:
        return _parameter(_key(field), Annotated[kind, told])
    default: Any = False if kind is bool else None
    return _parameter(_key(field), Annotated[kind if kind is bool else kind | None, told], default)


def _key(field: Field) -> str:
    """A name that Python takes for a parameter, apart from those of ids and of our own options."""
    return "value_" + "".join(character if character.isalnum() else "_" for character in field.name)


def _run(operation: Operation, fields: Iterable[Field], context: Context, said: Mapping[str, Any]) -> None:
    form = said.get("output") or context.output
    ids = {name: _id(name, said[name]) for name in operation.ids}
    sent = {}
    for field in fields:
        try:
            sent[field.name] = values.of(field, said[_key(field)])
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=field.flag) from error
    if operation.destroys and not (context.yes or said["yes"]):
        what = [*ids.values()][-1] if ids else {"account": "your second factor"}.get(operation.noun, f"{operation.noun} of yours")
        context.confirm(f"This will {operation.destroys} {what}.")
    with context.anonymous() if sent.get(operation.proof) else context.client() as client:
        if operation.many:
            listed = client.pages(operation, ids, sent)
            rows_max = said.get("rows_max")
            found = _flat(listed) if operation.buckets else listed
            output.rows((row for row, _ in zip(found, range(rows_max))) if rows_max else found, operation.columns, form)  # noqa: B905
            return
        answer = client.call(operation, ids, sent, if_match=said.get("if_version"))
        if isinstance(answer.get("data"), list):
            output.rows(answer["data"], operation.columns, form)
        else:
            output.one(answer, form)


def _id(name: str, said: str) -> str:
    """An id of a path. Raises: BadParameter: with it the path would be another one."""
    if said in {"", ".", ".."}:
        raise typer.BadParameter(f"{said!r} is no id", param_hint=name.upper())
    return said


def _flat(buckets: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """One row a result, with the time of its bucket. What no filter or group names is null in each, and left out."""
    for bucket in buckets:
        for result in bucket["results"]:
            amount = result.get("amount")
            plain = {name: value for name, value in result.items() if name not in {"object", "amount"} and value is not None}
            if isinstance(amount, Mapping):
                plain |= {"amount": amount.get("value"), "currency": amount.get("currency")}
            yield {"start_time": bucket["start_time"], "end_time": bucket["end_time"], **plain}
