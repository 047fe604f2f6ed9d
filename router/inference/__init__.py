"""The hot path: from a header and a body to an engine and back, one usage row per attempt."""
