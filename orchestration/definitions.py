"""What Dagster loads: `dagster-webserver -m orchestration.definitions`. Reads the environment, which nothing else here does."""

import os

from orchestration.assembly import build
from orchestration.settings import OrchestrationSettings

defs = build(OrchestrationSettings.from_env(os.environ))
