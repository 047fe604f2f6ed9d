"""Pure Polars and DuckDB: frames in, frames out."""
