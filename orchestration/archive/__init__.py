"""History as Parquet: written, read back, dropped from the database, restored; and the chain of daily digests."""
