"""A corrected price book from a file: JSON, a list of versions named as in control.prices."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl

from orchestration.jobs import pricing
from warehouse.base.errors import InferhouseError

FILE_BYTES_MAX = 16 * 1024 * 1024
PRICE_PICOUSD_MAX = 10**12  # as the price book refuses more
REQUEST_PICOUSD_MAX = 10**15


class BookUnreadable(InferhouseError):
    """The file with the corrected price book is not one. Nothing was priced."""

    code = "book_unreadable"


class Version(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One version. Prices in pico-dollars; bounds: from inclusive, before and below exclusive, null open."""

    model: str
    input_picousd: int
    cached_input_picousd: int
    output_picousd: int
    reasoning_picousd: int | None = None
    request_picousd: int = 0
    organization: str | None = None
    priority: int = 0
    endpoint: str | None = None
    input_tokens_from: int = 0
    input_tokens_below: int | None = None
    tags: dict[str, str] = {}
    effective_from: datetime | None = None
    effective_before: datetime | None = None

    def __post_init__(self) -> None:
        tokens = [self.input_picousd, self.cached_input_picousd, self.output_picousd, self.reasoning_picousd or 0]
        if not all(0 <= price <= PRICE_PICOUSD_MAX for price in tokens) or not 0 <= self.request_picousd <= REQUEST_PICOUSD_MAX:
            raise ValueError("a price is negative or absurd")
        if any(at is not None and at.tzinfo is None for at in (self.effective_from, self.effective_before)):
            raise ValueError("an instant has no zone")


def read_book(path: Path, models: Mapping[str, int], organizations: Mapping[str, int]) -> tuple[pl.DataFrame, str]:
    """(the book as pricing.BOOK_SCHEMA, SHA-256 of the file). Versions are numbered downwards from -1: they have no ids.

    Raises: BookUnreadable.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise BookUnreadable(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        text = path.read_bytes()
        versions = msgspec.json.decode(text, type=list[Version])
    except (OSError, msgspec.MsgspecError) as error:
        raise BookUnreadable(f"{path}: {error}") from error
    unknown = {version.model for version in versions} - set(models)
    unknown |= {version.organization for version in versions if version.organization} - set(organizations)
    if unknown:
        raise BookUnreadable(f"{path} names what there is not: {', '.join(sorted(unknown))}")
    rows = [
        msgspec.structs.asdict(version)
        | {
            "price_id": -1 - number,
            "model_id": models[version.model],
            "org_id": organizations[version.organization] if version.organization else None,
            "tags": [[key, value] for key, value in version.tags.items()],
        }
        for number, version in enumerate(versions)
    ]
    picked = [{name: row[name] for name in pricing.BOOK_SCHEMA} for row in rows]
    return pl.DataFrame(picked, schema=pricing.BOOK_SCHEMA), hashlib.sha256(text).hexdigest()
