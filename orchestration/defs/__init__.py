"""Dagster definitions, one folder an area."""
