"""What keeps Dagster's own storage bounded."""
