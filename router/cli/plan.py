"""What has to be done so that an organization is as a file declares it: steps, in an order in which each can be done."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from router.cli.client import ApiError, Client
from router.cli.declaration import Invalid
from router.cli.operation import NULL

NOT_FOUND = 404
_NARROWER = ("user_id", "service_account_id", "api_key_id")


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `changes`: (before, after) by field. `run` makes it, and answers what was made."""

    action: Literal["create", "update", "delete"]
    kind: str
    name: str
    changes: Mapping[str, tuple[Any, Any]]
    run: Callable[[], Any] = field(repr=False, compare=False)

    def __str__(self) -> str:
        sign = {"create": "+", "update": "~", "delete": "-"}[self.action]
        parts = [f"{name}: {_said(after)}" if self.action == "create" else f"{name}: {_said(before)} -> {_said(after)}"
                 for name, (before, after) in self.changes.items()]  # fmt: skip
        return f"{sign} {self.kind} {self.name}" + (f" ({', '.join(parts)})" if parts else "")


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


class Planner:
    """Compares what is declared with what is there. Raises from `steps`: ApiError, Unreachable, Invalid."""

    def __init__(self, client: Client, declared: Mapping[str, Any], *, prune: bool) -> None:
        self._client, self._declared, self._prune = client, declared, prune
        self._ids: dict[str, str] = {}
        self._doing: list[Step] = []
        self._removing: list[Step] = []

    def steps(self) -> list[Step]:
        """Creates and updates first; then, with `prune`, what the file does not name of what it lists goes."""
        platform = self._declared.get("platform", {})
        self._catalogue("model", platform.get("models"), "retire")
        self._catalogue("engine", platform.get("engines"), "disable")
        self._prices(platform.get("prices", ()))
        self._organization()
        people = {user["email"].lower(): user for user in self._users()}
        self._members(people)
        self._projects(people)
        self._scoped("budget", self._declared.get("budgets"), None)
        self._scoped("limit", self._declared.get("limits"), None)
        self._sql_access()
        return [*self._doing, *reversed(self._removing)]

    def _users(self) -> Iterable[Mapping[str, Any]]:
        asks = "members" in self._declared or any(project.get("members") for project in self._declared.get("projects", ()))
        return self._client.user.list() if asks else ()

    def _create(self, kind: str, name: str, values: Mapping[str, Any], run: Callable[[], Any]) -> None:
        shown = {key: (None, value) for key, value in values.items() if value is not None and value != name}
        self._doing.append(Step("create", kind, name, shown, run))

    def _change(
        self, kind: str, name: str, before: Mapping[str, Any], wanted: Mapping[str, Any], run: Callable[[dict[str, Any]], Any]
    ) -> None:
        """An update of what differs; what the file does not name stays."""
        differs = {key: value for key, value in wanted.items() if not _same(before.get(key), value)}
        if differs:
            sent = {key: NULL if value is None else value for key, value in differs.items()}
            shown = {key: (before.get(key), value) for key, value in differs.items()}
            self._doing.append(Step("update", kind, name, shown, lambda: run(sent)))

    def _remove(self, kind: str, name: str, run: Callable[[], Any]) -> None:
        if self._prune:
            self._removing.append(Step("delete", kind, name, {}, run))

    def _in(self, project: str, method: Callable[..., Any], **values: Any) -> Callable[[], Any]:
        """A call in a project that an earlier step may have to make first."""
        return lambda: method(self._ids[project], **values)

    def _of(self, project: str | None, method: Callable[..., Any], values: Mapping[str, Any]) -> Callable[[], Any]:
        """A create that is about a project, or about the whole organization."""
        return lambda: method(**values, project_id=self._ids[project] if project else None)

    def _catalogue(self, kind: str, declared: Sequence[dict[str, Any]] | None, ends: str) -> None:
        """Models or engines; `ends` is the verb that takes one out of service."""
        if declared is None:
            return
        noun = getattr(self._client, kind)
        there = {row["id"]: row for row in noun.catalogue()}
        for wanted in _named(declared, "id", f"{kind}s"):
            known = there.pop(wanted["id"], None)
            name, rest = wanted["id"], {key: value for key, value in wanted.items() if key != "id"}
            if known is None:
                self._create(kind, name, wanted, partial(noun.create, **wanted))
            else:
                self._change(kind, name, known, rest, _sending(noun.update, name))
        for name, row in there.items():
            if row.get("enabled", True):
                self._remove(kind, name, partial(getattr(noun, ends), name))

    def _prices(self, prices: Sequence[Mapping[str, Any]]) -> None:
        """Against what is in force now; a version that is to come stays, and says nothing of today."""
        # By the server's clock, which is said in whole seconds and up to a second late: two more, or what has just begun would
        # not be seen.
        now = int(self._client.server_time_s or time.time()) + 2 if prices else 0
        for wanted in prices:
            organization = wanted.get("organization")
            rows = self._client.price.list(model=wanted["model"], organization=organization or "list", at=now)
            known: Mapping[str, Any] = next((row for row in rows if not row["priority"]), {})
            amounts = {name: value for name, value in wanted.items() if name.endswith("_usd_per_million")}
            if all(_same(known.get(name), value) for name, value in amounts.items()):
                continue
            sent = {"reason": "declared in a file"} | dict(wanted)
            name = f"{wanted['model']}{f' for {organization}' if organization else ''}"
            shown = {key: (known.get(key), value) for key, value in amounts.items()}
            self._doing.append(Step("create", "price", name, shown, partial(self._client.price.create, **sent)))

    def _organization(self) -> None:
        wanted = self._declared.get("organization")
        if wanted:
            before = self._client.org.show()
            self._change("organization", before["name"], before, wanted, _sending(self._client.org.set))

    def _members(self, people: Mapping[str, Mapping[str, Any]]) -> None:
        if "members" not in self._declared:
            return
        left = dict(people)
        for wanted in _named(self._declared["members"], "email", "members"):
            known = left.pop(wanted["email"].lower(), None)
            if known is None:
                raise Invalid(
                    f"{wanted['email']} is no member yet: invite them with `inferhouse invite create`, then apply again"
                )
            self._change(
                "member", wanted["email"], known, {"role": wanted["role"]},
                _sending(self._client.user.update, known["id"]),
            )  # fmt: skip
        for known in left.values():
            self._remove("member", known["email"], partial(self._client.user.remove, known["id"]))

    def _projects(self, people: Mapping[str, Mapping[str, Any]]) -> None:
        if "projects" not in self._declared:
            return
        there: dict[str, list[str]] = {}
        for row in self._client.project.list():
            there.setdefault(row["name"], []).append(row["id"])
        for wanted in _named(self._declared["projects"], "name", "projects"):
            name, ids = wanted["name"], there.pop(wanted["name"], [])
            if len(ids) > 1:
                raise Invalid(f"there are {len(ids)} projects named {name!r}: rename one, so that it is clear which is meant")
            if ids:
                self._ids[name] = ids[0]
            else:
                self._create("project", name, {}, partial(self._made_project, name))
            self._project_members(wanted, people, new=not ids)
            self._accounts(wanted, new=not ids)
            for kind in ("budget", "limit"):
                self._scoped(kind, wanted.get(f"{kind}s"), name, new=not ids)
        for name, ids in there.items():
            for project_id in ids:
                self._remove("project", name, partial(self._client.project.archive, project_id))

    def _made_project(self, name: str) -> Any:
        made = self._client.project.create(name=name)
        self._ids[name] = made["id"]
        return made

    def _project_members(self, project: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]], *, new: bool) -> None:
        if "members" not in project:
            return
        name = project["name"]
        rows = () if new else self._client.member.list(self._ids[name])
        left = {row["email"].lower(): row for row in rows}
        for wanted in _named(project["members"], "email", f"members of {name}"):
            user, known = people.get(wanted["email"].lower()), left.pop(wanted["email"].lower(), None)
            if user is None:
                raise Invalid(f"{wanted['email']} is no member of the organization: invite them with `inferhouse invite create`")
            title, role = f"{wanted['email']} in {name}", wanted["role"]
            if known is None:
                self._create(
                    "project member", title, {"role": role},
                    self._in(name, self._client.member.create, user_id=user["id"], role=role),
                )  # fmt: skip
            else:
                self._change(
                    "project member", title, known, {"role": role},
                    _sending(self._client.member.update, self._ids[name], user["id"]),
                )  # fmt: skip
        for row in left.values():
            self._remove(
                "project member", f"{row['email']} in {name}",
                partial(self._client.member.remove, self._ids[name], row["id"]),
            )  # fmt: skip

    def _accounts(self, project: Mapping[str, Any], *, new: bool) -> None:
        if "service_accounts" not in project:
            return
        name = project["name"]
        left = {row["name"]: row for row in (() if new else self._client.service_account.list(self._ids[name]))}
        for wanted in _named(project["service_accounts"], "name", f"service accounts of {name}"):
            known = left.pop(wanted["name"], None)
            title = f"{wanted['name']} in {name}"
            if known is None:
                self._create(
                    "service account", title, wanted,
                    self._in(name, self._client.service_account.create, **wanted),
                )  # fmt: skip
            elif wanted.get("role") not in {None, known["role"]}:
                raise Invalid(f"the service account {title} is {known['role']}: its role cannot be changed, make another")
        for row in left.values():
            self._remove(
                "service account", f"{row['name']} in {name}",
                partial(self._client.service_account.delete, self._ids[name], row["id"]),
            )  # fmt: skip

    def _scoped(self, kind: str, wanted: Sequence[Mapping[str, Any]] | None, project: str | None, *, new: bool = False) -> None:
        """Budgets or limits of the whole organization (`project` is None) or of a project; known by period and model.

        Of several alike the oldest is the file's; the others are what it does not name.
        """
        if wanted is None:
            return
        noun = getattr(self._client, kind)
        project_id = self._ids.get(project or "")
        rows = [] if new else [row for row in noun.list() if _is_scope(row, project_id)]
        left: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
        for row in rows:
            left.setdefault((row.get("period"), row["model"]), []).append(row)
        seen = set()
        for declared in wanted:
            key = (declared.get("period"), declared.get("model"))
            title = " ".join([*(part for part in key if part), f"of {project or 'the organization'}"])
            if key in seen:
                raise Invalid(f"the file has two {kind}s {title}: write one")
            seen.add(key)
            known = left[key].pop(0) if left.get(key) else None
            values = {name: value for name, value in declared.items() if name not in {"period", "model"}}
            if known is None:
                self._create(
                    kind, title, declared,
                    self._of(project, noun.create, declared),
                )  # fmt: skip
            else:
                self._change(kind, title, known, values, _sending(noun.update, known["id"]))
        for key, others in left.items():
            title = " ".join([*(part for part in key if part), f"of {project or 'the organization'}"])
            for row in others:
                self._remove(kind, title, partial(noun.delete, row["id"]))

    def _sql_access(self) -> None:
        if "sql_access" not in self._declared:
            return
        left = {row["name"]: row for row in self._client.sql_access.list()}
        for wanted in _named(self._declared["sql_access"], "name", "sql_access"):
            if left.pop(wanted["name"], None) is None:
                self._create("sql access", wanted["name"], {}, partial(self._client.sql_access.create, **wanted))
        for row in left.values():
            self._remove("sql access", row["name"], partial(self._client.sql_access.delete, row["id"]))


def _sending(method: Callable[..., Any], *ids: str) -> Callable[[dict[str, Any]], Any]:
    """An update of what differs."""
    return lambda sent: method(*ids, **sent)


def _named(declared: Sequence[dict[str, Any]], key: str, what: str) -> Sequence[dict[str, Any]]:
    """The entries. Raises: Invalid: two have the same name."""
    names = [entry[key].lower() for entry in declared]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"{what} has {twice[0]!r} twice")
    return declared


def _is_scope(row: Mapping[str, Any], project_id: str | None) -> bool:
    """Whether a budget or limit is of exactly this: a project, or the whole organization; of a model or of all."""
    return row.get("project_id") == project_id and not any(row.get(name) for name in _NARROWER)


def _same(before: Any, after: Any) -> bool:
    """Equal as the API has it: 250 USD is 250.00 USD, and lists of names have no order."""
    if isinstance(before, list) and isinstance(after, list):
        return sorted(map(str, before)) == sorted(map(str, after))
    if isinstance(before, str) and isinstance(after, str) and after[:1].isdigit():
        try:
            return Decimal(before) == Decimal(after)
        except ArithmeticError:
            return before == after
    return bool(before == after)


def is_gone(error: ApiError) -> bool:
    """Whether what was to be deleted is not there any more."""
    return error.status == NOT_FOUND
