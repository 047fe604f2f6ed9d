"""Digests of raw rows, computed from Arrow data as raw.row_digest computes them in the database.

Two implementations that agree are the proof that a file holds the rows: neither reads what the other has written.
"""

import hashlib
import json

import polars as pl

KEY = ("started_at", "request_id", "attempt")
"""The order of a row set."""
_TEXTS = ("model_asked", "error_code", "end_user")


def canonical_texts(rows: pl.DataFrame) -> pl.Series:
    """The text of each row whose SHA-256 is its digest: the columns of raw.row_digest, in its order.

    Args: rows: the columns of raw.usage_events; uuids as 16 bytes, tags as the text that PostgreSQL makes of jsonb.
    """
    optional = [
        _optional("user_id"), _optional("service_account_id"), pl.col("endpoint").cast(pl.String), _integer("stream"),
        pl.col("status").cast(pl.String), _integer("http_status"), _optional("finish_reason"), _optional("model_id"),
        _optional("engine_id"), _integer("input_tokens"), _integer("cached_input_tokens"), _integer("output_tokens"),
        _integer("reasoning_tokens"), pl.col("token_source").cast(pl.String), _optional("queue_us"), _optional("ttft_us"),
        _integer("duration_us"), _optional("overhead_us"), _optional("price_id"), _optional("cost_picousd"),
        pl.col("charge_class").cast(pl.String),
    ]  # fmt: skip
    parts = [
        _uuid("request_id"), _integer("attempt"), _uuid("trace_id").fill_null(""),
        _integer("started_at"), _integer("finished_at"),
        _integer("org_id"), _integer("project_id"), _integer("api_key_id"),
        *optional, *(_quoted(rows, name) for name in _TEXTS), pl.col("tags").fill_null(""),
    ]  # fmt: skip
    return rows.select(pl.concat_str(parts, separator="|").alias("text"))["text"]


class RowSet:
    """The digest of rows that come in the order of KEY, some at a time: memory is that of one batch."""

    def __init__(self) -> None:
        self.usage_rows = 0
        self._digest = hashlib.sha256()
        self._last: tuple[object, ...] | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """The next rows.

        Raises: ValueError: they are not in order, or one is there twice.
        """
        if rows.is_empty():
            return
        keys = rows.select(KEY)
        first, last = keys.row(0), keys.row(-1)
        if (self._last is not None and first <= self._last) or not _rising(keys):
            raise ValueError("the rows are not in the order of (started_at, request_id, attempt), or one is there twice")
        self._last = last
        self._digest.update(b"".join(hashlib.sha256(text.encode()).digest() for text in canonical_texts(rows)))
        self.usage_rows += rows.height

    def digest(self) -> bytes:
        """SHA-256 over the digests of the rows."""
        return self._digest.digest()


def _rising(keys: pl.DataFrame) -> bool:
    """Whether each key is above the one before."""
    ranked = keys.with_columns(
        same_instant=pl.col("started_at") == pl.col("started_at").shift(1),
        same_request=pl.col("request_id") == pl.col("request_id").shift(1),
    )
    falls = (
        (pl.col("started_at") < pl.col("started_at").shift(1))
        | (pl.col("same_instant") & (pl.col("request_id") < pl.col("request_id").shift(1)))
        | (pl.col("same_instant") & pl.col("same_request") & (pl.col("attempt") <= pl.col("attempt").shift(1)))
    )
    return not ranked.select(falls.any()).item()


def _uuid(name: str) -> pl.Expr:
    digits = pl.col(name).bin.encode("hex")
    return pl.concat_str(
        [digits.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))], separator="-"
    )


def _integer(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64).cast(pl.String)


def _optional(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).fill_null("")


def _quoted(rows: pl.DataFrame, name: str) -> pl.Expr:
    """Free text as PostgreSQL's to_json writes it: Python escapes the same characters in the same way."""
    distinct = rows[name].drop_nulls().unique()
    quoted = pl.Series([json.dumps(text, ensure_ascii=False) for text in distinct], dtype=pl.String)
    return pl.col(name).replace_strict(distinct, quoted, default=None, return_dtype=pl.String).fill_null("")
