"""Named queries in `.sql`, typed rows in `.py`; the caller owns connection and transaction."""
