"""History as Parquet, the chain of daily digests, and days that leave the database."""
