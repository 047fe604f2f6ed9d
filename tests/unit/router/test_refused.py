"""What an engine's refusal is taken for: the client's to mend, the engine's, or about the router's own account."""

import pytest

from router.inference.exchange import EngineRefused
from router.inference.upstream import AnswerHead

QUOTA = b'{"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}'
RATE = b'{"error": {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}}'


@pytest.mark.parametrize(
    ("body", "is_hosted", "is_word", "code"),
    [(QUOTA, True, False, "engine_402"), (RATE, True, True, "engine_429"), (QUOTA, False, True, "engine_429")],
)
def test_an_account_without_credit_is_ours_to_mend(body: bytes, is_hosted: bool, is_word: bool, code: str) -> None:
    refused = EngineRefused(AnswerHead(429), body, is_hosted=is_hosted)
    assert (refused.is_word, refused.row()[2]) == (is_word, code)
