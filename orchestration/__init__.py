"""Dagster: thin assets over plain functions; schedules, sensors, checks."""
