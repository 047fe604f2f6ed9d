"""Frames as files to take away: exact, so that their sums equal those of SQL."""

import io

import pandas as pd

COST_DIGITS = 38  # as the mart's numeric(38, 0)


def to_csv(usage: pd.DataFrame) -> bytes:
    """CSV with the mart's column names; money in whole pico-dollars."""
    exact = usage.assign(cost_picousd=[f"{cost:f}" for cost in usage["cost_picousd"]])
    text: str = exact.to_csv(index=False)
    return text.encode()


def to_parquet(usage: pd.DataFrame) -> bytes:
    """Parquet with the mart's column names and types: money is decimal(38, 0) pico-dollars, never a float."""
    import pyarrow as pa  # noqa: PLC0415  # only for those who take a file
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = {"day": pa.date32(), "cost_picousd": pa.decimal128(COST_DIGITS, 0)}
    text = dict.fromkeys(("project", "api_key", "model"), pa.string())
    schema = pa.schema([(name, (kinds | text).get(name, pa.int64())) for name in usage.columns])
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(usage, schema=schema, preserve_index=False), file)
    return file.getvalue()
