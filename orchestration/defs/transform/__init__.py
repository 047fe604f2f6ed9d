"""dbt models as assets, and when they are built."""
