"""`/v1/organization/audit_logs` in OpenAI's shape, and the platform's: all of it, and whether it is as it was written."""

import asyncio
import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from router.inference.state import InferenceState
from router.management.access import Access, Needs
from router.management.pages import Listed, Paged, Window, unknown_after
from router.management.parameters import LAST_SECOND, Values, either
from router.routes import routes
from warehouse.access import audit_log
from warehouse.access.audit_log import Entry
from warehouse.identity.audit import ChainCheck, Finding

router = routes("audit logs")
FINDINGS_MAX = 1000
CHECKS_AT_ONCE_MAX = 1  # one reads the whole log and takes a core
SEEN_FILE = "audit_seen.json"
_checks = asyncio.Semaphore(CHECKS_AT_ONCE_MAX)
Seconds = Annotated[int | None, Field(ge=0, le=LAST_SECOND)]


class ActorUser(BaseModel):
    """A person."""

    id: str
    email: str | None


class ActorSession(BaseModel):
    """A signed-in person."""

    user: ActorUser
    ip_address: str | None


class ActorKey(BaseModel):
    """A key of any kind."""

    id: str
    ip_address: str | None


class ActorShape(BaseModel):
    """Who did it. `system` is this installation itself."""

    type: Literal["session", "api_key", "system"]
    session: ActorSession | None = None
    api_key: ActorKey | None = None


class AuditProject(BaseModel):
    """The project that it was done in."""

    id: str
    name: str


class AuditLogShape(BaseModel):
    """An entry. As in OpenAI's shape, what was asked for stands also under the name of the event's type."""

    model_config = ConfigDict(extra="allow")
    object: Literal["organization.audit_log"] = "organization.audit_log"
    id: str
    type: str
    effective_at: int
    actor: ActorShape
    project: AuditProject | None
    organization_id: str | None
    sequence: int
    request_id: str | None
    target_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @classmethod
    def of(cls, row: Entry) -> "AuditLogShape":
        """The shape of a row."""
        detail: dict[str, Any] = {"id": row.target_id}
        if row.after is not None:
            detail["data" if row.before is None else "changes_requested"] = row.after
        return cls.model_validate(
            {
                "id": row.public_id,
                "type": row.event_type,
                "effective_at": int(row.effective_at.timestamp()),
                "actor": _actor(row),
                "project": {"id": row.project, "name": row.project_name} if row.project else None,
                "organization_id": row.organization,
                "sequence": row.sequence,
                "request_id": str(row.request_id) if row.request_id else None,
                "target_id": row.target_id,
                "before": row.before,
                "after": row.after,
                row.event_type: detail,
            }
        )


def _actor(row: Entry) -> dict[str, Any]:
    if row.actor_type == "user":
        return {"type": "session", "session": {"user": {"id": row.actor_id, "email": row.actor_email}, "ip_address": row.ip}}
    if row.actor_type == "api_key":
        return {"type": "api_key", "api_key": {"id": row.actor_id, "ip_address": row.ip}}
    return {"type": "system"}


class AuditFilter:
    """OpenAI's filters; lists may be sent as `name[]=a&name[]=b`, as the SDKs do, or as `name=a&name=b`."""

    def __init__(
        self,
        *,
        event_types_: Annotated[Values, Query(alias="event_types[]", default_factory=list)],
        event_types: Annotated[Values, Query(default_factory=list)],
        actor_ids_: Annotated[Values, Query(alias="actor_ids[]", default_factory=list)],
        actor_ids: Annotated[Values, Query(default_factory=list)],
        actor_emails_: Annotated[Values, Query(alias="actor_emails[]", default_factory=list)],
        actor_emails: Annotated[Values, Query(default_factory=list)],
        resource_ids_: Annotated[Values, Query(alias="resource_ids[]", default_factory=list)],
        resource_ids: Annotated[Values, Query(default_factory=list)],
        project_ids_: Annotated[Values, Query(alias="project_ids[]", default_factory=list)],
        project_ids: Annotated[Values, Query(default_factory=list)],
        gt: Annotated[Seconds, Query(alias="effective_at[gt]", description="Unix seconds.")] = None,
        gte: Annotated[Seconds, Query(alias="effective_at[gte]", description="Unix seconds.")] = None,
        lt: Annotated[Seconds, Query(alias="effective_at[lt]", description="Unix seconds.")] = None,
        lte: Annotated[Seconds, Query(alias="effective_at[lte]", description="Unix seconds.")] = None,
    ) -> None:
        emails = either(actor_emails_, actor_emails)
        since = [second for second in (gte, None if gt is None else gt + 1) if second is not None]
        until = [second for second in (lt, None if lte is None else lte + 1) if second is not None]
        self.values: dict[str, Any] = {
            "event_types": either(event_types_, event_types),
            "actor_ids": either(actor_ids_, actor_ids),
            "actor_emails": emails and sorted({*emails, *(email.lower() for email in emails)}),
            "target_ids": either(resource_ids_, resource_ids),
            "project_ids": either(project_ids_, project_ids),
            "since": _instant(max(since)) if since else None,
            "until": _instant(min(until)) if until else None,
        }


Filtered = Annotated[AuditFilter, Depends()]


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(min(second, LAST_SECOND), UTC)


@router.get("/organization/audit_logs", response_model=Listed[AuditLogShape])
async def list_audit_logs(
    access: Annotated[Access, Depends(Needs("audit_log.read"))], window: Paged, wanted: Filtered
) -> Listed[AuditLogShape]:
    """Changes in this organization, the newest first."""
    return await _page(access, access.org.id, window, wanted)


@router.get("/platform/audit_logs", response_model=Listed[AuditLogShape])
async def list_platform_audit_logs(
    access: Annotated[Access, Depends(Needs("audit_log.verify"))], window: Paged, wanted: Filtered
) -> Listed[AuditLogShape]:
    """Changes in every organization and of the platform itself, the newest first."""
    return await _page(access, None, window, wanted)


async def _page(access: Access, org_id: int | None, window: Window, wanted: AuditFilter) -> Listed[AuditLogShape]:
    async with access.transaction() as conn:
        after = None
        if window.after is not None:
            after = await audit_log.find(conn, org_id, window.after)
            if after is None:
                raise unknown_after()
        rows = await audit_log.page(conn, org_id, rows_max=window.limit + 1, after=after, **wanted.values)
    return window.page([AuditLogShape.of(row) for row in rows], [row.public_id for row in rows])


class SeenShape(BaseModel):
    """An entry by its place and its code: kept elsewhere, it shows later that the log's end was not cut off."""

    model_config = ConfigDict(extra="forbid")
    sequence: int = Field(ge=0, lt=2**63, strict=True)
    mac: str = Field(pattern="^[0-9a-f]{64}$")


class VerifyBody(BaseModel):
    """What the caller remembers of an earlier check."""

    model_config = ConfigDict(extra="forbid")
    seen: SeenShape | None = Field(default=None, description="`head` of an earlier check.")


class FindingShape(BaseModel):
    """What is wrong, and where."""

    sequence: int
    what: str


class VerificationShape(BaseModel):
    """The log as it is now. No findings: every entry is as it was written, in its place, and none is missing."""

    object: Literal["audit_log.verification"] = "audit_log.verification"
    entries: int
    findings: list[FindingShape]
    has_more: bool = Field(description=f"Whether there are more findings than the {FINDINGS_MAX} told.")
    head: SeenShape | None = Field(description="The newest entry; null without entries, and with findings.")


@router.post("/platform/audit_logs/verify", response_model=VerificationShape)
async def verify_audit_logs(
    request: Request, access: Annotated[Access, Depends(Needs("audit_log.verify"))], body: VerifyBody | None = None
) -> VerificationShape:
    """Read the whole log and check its chain, a part at a time. Takes a while; one check at once, others wait."""
    inference: InferenceState = request.app.state.inference
    anchor = Anchor(inference.settings.journal_dir / SEEN_FILE)
    findings: list[Finding] = []
    seen = [] if body is None or body.seen is None else [(body.seen.sequence, bytes.fromhex(body.seen.mac))]
    try:
        seen += anchor.read()
    except ValueError:
        findings.append(Finding(0, f"what earlier checks saw cannot be read: {SEEN_FILE} is damaged"))
    check = ChainCheck(access.state.audit_key, seen=seen)
    async with _checks, access.transaction() as conn:
        async for rows in audit_log.read_chain(conn):
            findings += await asyncio.to_thread(list, check.read(rows))
            del findings[FINDINGS_MAX + 1 :]
        head = await audit_log.lock_head(conn)  # from here nobody adds; what was added meanwhile is read now
        async for rows in audit_log.read_chain(conn, check.last[0] if check.entries else audit_log.FIRST_POSSIBLE):
            findings += await asyncio.to_thread(list, check.read(rows))
        findings += check.end(head)
    sequence, mac = check.last
    if not findings and sequence:
        anchor.write(sequence, mac)
    return VerificationShape(
        entries=check.entries,
        findings=[FindingShape(sequence=finding.sequence, what=finding.what) for finding in findings[:FINDINGS_MAX]],
        has_more=len(findings) > FINDINGS_MAX,
        head=SeenShape(sequence=sequence, mac=mac.hex()) if sequence and not findings else None,
    )


class Anchor:
    """The last entry that a check of this machine saw, in a file outside of the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[tuple[int, bytes]]:
        """What was seen; nothing before the first check. Raises: ValueError: the file is damaged."""
        try:
            known = json.loads(self._path.read_text())
            return [(int(known["sequence"]), bytes.fromhex(known["mac"]))]
        except FileNotFoundError:
            return []
        except (KeyError, TypeError) as error:
            raise ValueError(str(self._path)) from error

    def write(self, sequence: int, mac: bytes) -> None:
        """Replace what was seen. A disk that refuses loses no more than this file's news."""
        new = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"sequence": sequence, "mac": mac.hex()}))
            new.replace(self._path)
