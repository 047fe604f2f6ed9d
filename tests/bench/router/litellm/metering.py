"""What LiteLLM asks for where it has no database: whose key it is, and where rows go. It runs in LiteLLM's process."""

import json
import os
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

ENOUGH, ENOUGH_AT_ONCE, ENOUGH_USD = 10**12, 10**6, 1_000.0
"""As ours has them, on the key and on its project, which is a team here: requests and tokens a minute, requests at once, and
money that no run comes near."""
_KEY = os.environ["MASTER_KEY"]


class UnknownKey(Exception):
    """Nobody has this key."""


async def user_api_key_auth(_request: Any, api_key: str) -> UserAPIKeyAuth:
    """The one key there is. Raises: UnknownKey."""
    if api_key != _KEY:
        raise UnknownKey
    return UserAPIKeyAuth(
        api_key=api_key, models=["m"], rpm_limit=ENOUGH, tpm_limit=ENOUGH, max_parallel_requests=ENOUGH_AT_ONCE,
        max_budget=ENOUGH_USD, spend=0.0, team_id="team", team_rpm_limit=ENOUGH, team_tpm_limit=ENOUGH,
        team_max_budget=ENOUGH_USD, team_spend=0.0,
    )  # fmt: skip


class Rows(CustomLogger):
    """A line for each request that was answered; nobody waits for the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._file = Path("rows.jsonl").open("a")  # noqa: SIM115 - until the process ends

    async def async_log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._file.write(json.dumps(kwargs["standard_logging_object"], default=str) + "\n")


rows = Rows()
