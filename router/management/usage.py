"""`/v1/organization/usage`, of every endpoint, and OpenAI's `/usage/completions`, from the marts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, Self, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from router.management.parameters import LAST_SECOND, Values, either
from router.management.reach import NeedsSomewhere, Reach
from router.management.scopes import bare_key, shown_key
from router.routes import routes
from warehouse.access import usage_marts
from warehouse.access.usage_marts import UsageFilter, UsageSum
from warehouse.base.errors import InvalidRequest

router = routes("usage", "/organization/usage")
COMPLETIONS = ("chat.completions", "completions", "responses", "messages")
WIDTHS = {"1h": ("hours", 3600, 24, 168), "1d": ("days", 86400, 7, 31)}  # query, seconds, buckets of a page, and at most
RESULTS_MAX = 10_000
Result = TypeVar("Result", bound=BaseModel)
Group = Literal["project_id", "user_id", "api_key_id", "model"]
Groups = Annotated[list[Group], Field(max_length=8)]
Seconds = Annotated[int, Field(ge=0, le=LAST_SECOND - 86_399)]


class Bucket(BaseModel, Generic[Result]):
    """An hour or a day of UTC; Unix seconds, the end is not part of it."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[Result]


class BucketPage(BaseModel, Generic[Result]):
    """Some buckets in order of time. `next_page` is the next call's `page`."""

    object: Literal["page"] = "page"
    data: list[Bucket[Result]]
    has_more: bool
    next_page: str | None
    complete_to: int | None = Field(
        description="Every request that started before it, Unix seconds, is counted; later ones may be missing. Null: none yet."
    )


class TokensResult(BaseModel):
    """One sum; what was not grouped by is null."""

    input_tokens: int
    input_cached_tokens: int
    output_tokens: int
    num_model_requests: int
    project_id: str | None
    user_id: str | None
    api_key_id: str | None
    model: str | None

    @classmethod
    def of(cls, row: UsageSum) -> Self:
        """The result of a sum."""
        return cls(
            input_tokens=row.input_tokens,
            input_cached_tokens=row.cached_input_tokens,
            output_tokens=row.output_tokens,
            num_model_requests=row.requests,
            project_id=row.project,
            user_id=row.user,
            api_key_id=shown_key(row.api_key),
            model=row.model,
        )


class CompletionsResult(TokensResult):
    """Of what generates: chat, completions, responses and messages."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"


class UsageResult(TokensResult):
    """Of every endpoint, as costs and the portal count."""

    object: Literal["organization.usage.result"] = "organization.usage.result"


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets of one page: where they start, and where the next page would."""

    width_s: int
    since_s: int
    until_s: int
    end_s: int

    def starts(self) -> Iterator[int]:
        """Unix seconds of each bucket."""
        return iter(range(self.since_s, self.until_s, self.width_s))


class UsageQuery:
    """OpenAI's parameters; lists may be sent as `name[]=a&name[]=b`, as the SDKs do, or as `name=a&name=b`."""

    def __init__(
        self,
        start_time: Annotated[Seconds, Query(description="Unix seconds; the bucket that it is in is the first.")],
        *,
        end_time: Annotated[Seconds | None, Query(description="Unix seconds, not part of it. Without: now.")] = None,
        bucket_width: Annotated[Literal["1h", "1d"], Query(description="An hour or a day of UTC.")] = "1d",
        group_by_: Annotated[Groups, Query(alias="group_by[]", default_factory=list)],
        group_by: Annotated[Groups, Query(default_factory=list)],
        project_ids_: Annotated[Values, Query(alias="project_ids[]", default_factory=list)],
        project_ids: Annotated[Values, Query(default_factory=list)],
        user_ids_: Annotated[Values, Query(alias="user_ids[]", default_factory=list)],
        user_ids: Annotated[Values, Query(default_factory=list)],
        api_key_ids_: Annotated[Values, Query(alias="api_key_ids[]", default_factory=list)],
        api_key_ids: Annotated[Values, Query(default_factory=list)],
        models_: Annotated[Values, Query(alias="models[]", default_factory=list)],
        models: Annotated[Values, Query(default_factory=list)],
        limit: Annotated[
            int | None, Query(ge=1, le=168, description="Buckets of the page: 7 days or 24 hours, at most 31 or 168.")
        ] = None,
        page: Annotated[str | None, Query(max_length=32, description="`next_page` of the page before.")] = None,
    ) -> None:
        self.width, width_s, usual, limit_max = WIDTHS[bucket_width]
        if limit is not None and limit > limit_max:
            raise InvalidRequest(f"at most {limit_max} buckets of {bucket_width}", param="limit")
        end_s = int(datetime.now(UTC).timestamp()) if end_time is None else end_time
        since_s = start_time - start_time % width_s if page is None else _cursor(page, width_s)
        if end_time is not None and end_time <= start_time:
            raise InvalidRequest("it must be after start_time", param="end_time")
        until_s = min(since_s + (limit or usual) * width_s, end_s + -end_s % width_s)
        self.span = Span(width_s, since_s, max(since_s, until_s), end_s)
        self.group_by = [name.removesuffix("_id") for name in (*group_by_, *group_by)]
        self.projects, self.users = either(project_ids_, project_ids), either(user_ids_, user_ids)
        keys = either(api_key_ids_, api_key_ids)
        self.api_keys = keys and [bare_key(key) or "" for key in keys]
        self.models = either(models_, models)

    def wanted(self, reach: Reach, endpoints: tuple[str, ...] | None) -> UsageFilter:
        """Which usage counts for this caller."""
        return UsageFilter(
            reach=reach.projects,
            projects=self.projects,
            users=self.users,
            api_keys=self.api_keys,
            models=self.models,
            endpoints=None if endpoints is None else list(endpoints),
        )


Asked = Annotated[UsageQuery, Depends()]


def _cursor(page: str, width_s: int) -> int:
    number = page.removeprefix("page_")
    if not (page.startswith("page_") and number.isascii() and number.isdigit() and len(number) <= 12):
        raise InvalidRequest("this is no next_page of an earlier answer", param="page")
    since_s = int(number)
    if since_s > LAST_SECOND - 86_399 or since_s % width_s:
        raise InvalidRequest("this is no next_page of an earlier answer with the same bucket_width", param="page")
    return since_s


@router.get("", response_model=BucketPage[UsageResult])
async def get_usage(reach: Annotated[Reach, Depends(NeedsSomewhere("usage.read"))], asked: Asked) -> BucketPage[UsageResult]:
    """Tokens and requests of every endpoint by hour or day: of the organization, or of the projects that the caller may see."""
    return await bucket_page(reach, asked, None, UsageResult.of)


@router.get("/completions", response_model=BucketPage[CompletionsResult])
async def get_completions_usage(
    reach: Annotated[Reach, Depends(NeedsSomewhere("usage.read"))], asked: Asked
) -> BucketPage[CompletionsResult]:
    """The same of chat, completions, responses and messages only, as OpenAI's API has it; costs are of every endpoint."""
    return await bucket_page(reach, asked, COMPLETIONS, CompletionsResult.of)


async def bucket_page(
    reach: Reach, asked: UsageQuery, endpoints: tuple[str, ...] | None, shape: Callable[[UsageSum], Result]
) -> BucketPage[Result]:
    """A page of sums. Raises: InvalidRequest: more than RESULTS_MAX results."""
    span, org_id = asked.span, reach.access.org.id
    rows: list[UsageSum] = []
    complete_to = None
    async with reach.access.transaction() as conn:
        if await usage_marts.built(conn):
            complete_to = await usage_marts.complete_to(conn, org_id)
            rows = await usage_marts.sums(
                conn,
                org_id,
                "hours" if asked.width == "hours" else "days",
                datetime.fromtimestamp(span.since_s, UTC),
                datetime.fromtimestamp(span.until_s, UTC),
                group_by=asked.group_by,
                wanted=asked.wanted(reach, endpoints),
                rows_max=RESULTS_MAX + 1,
            )
    if len(rows) > RESULTS_MAX:
        raise InvalidRequest(f"more than {RESULTS_MAX} results: ask for fewer buckets or group by less", param="group_by")
    by_start: dict[int, list[Result]] = {start: [] for start in span.starts()}
    for row in rows:
        by_start[int(row.starts_at.timestamp())].append(shape(row))
    more = span.until_s < span.end_s
    return BucketPage(
        data=[Bucket(start_time=start, end_time=start + span.width_s, results=found) for start, found in by_start.items()],
        has_more=more,
        next_page=f"page_{span.until_s}" if more else None,
        complete_to=int(complete_to.timestamp()) if complete_to else None,
    )
