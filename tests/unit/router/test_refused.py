"""What an engine's refusal is taken for: the client's to mend, the engine's, or about the router's own account."""

import pytest

from router.inference.exchange import EngineRefused
from router.inference.upstream import AnswerHead
from tests.routing_world import World, engine

QUOTA = b'{"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}'
RATE = b'{"error": {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}}'


@pytest.mark.parametrize(
    ("body", "is_hosted", "is_word", "code"),
    [(QUOTA, True, False, "engine_402"), (RATE, True, True, "engine_429"), (QUOTA, False, True, "engine_429")],
)
def test_an_account_without_credit_is_ours_to_mend(body: bytes, is_hosted: bool, is_word: bool, code: str) -> None:
    refused = EngineRefused(AnswerHead(429), body, is_hosted=is_hosted)
    assert (refused.is_word, refused.row()[2]) == (is_word, code)


@pytest.mark.parametrize(
    ("status", "body", "is_word"),
    [
        (404, b'{"error": {"message": "The model `m` does not exist.", "type": "NotFoundError", "param": "model"}}', False),
        (404, b'{"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}', False),
        (404, b'{"error": {"message": "model \\"m\\" not found, try pulling it first", "type": "api_error"}}', False),
        (404, b'{"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}', False),
        (403, b'{"error": {"message": "Project `p` does not have access to model `m`", "code": "model_not_found"}}', False),
        (404, b'{"error": {"message": "No response \'the model m is gone\' not found.", "param": "response_id"}}', True),
        (404, b'{"error": {"message": "The model does not support this task.", "param": null}}', True),
        (404, b'{"error": "not found"}', True),
        (404, b'{"detail": "Not Found"}', True),
        (404, b'{"error": ' * 5000, True),
        (400, b'{"error": {"message": "The model `m` does not exist.", "param": "model"}}', True),
    ],
)
def test_that_an_engine_lacks_its_model_is_ours_to_mend(status: int, body: bytes, is_word: bool) -> None:
    refused = EngineRefused(AnswerHead(status), body)
    assert (refused.is_word, refused.row()[0]) == (is_word, "refused" if is_word else "engine_failed")


def test_what_a_model_cannot_do_is_no_failure_of_its_engine() -> None:
    refused = EngineRefused(AnswerHead(501), b'{"error": {"message": "The model does not support Embeddings API", "code": 501}}')
    assert (refused.is_word, refused.row()) == (True, ("refused", 501, "engine_501"))


@pytest.mark.parametrize("status", [520, 522, 524, 529, 530])
def test_what_stands_behind_a_content_network_and_fails_is_asked_elsewhere(status: int) -> None:
    world = World([engine(1), engine(2)])
    plan = world.plan()
    assert world.dispatcher.retry(plan, (1,), attempts=1, status=status) is not None
    assert EngineRefused(AnswerHead(status), b"error code: 5xx").row()[0] == "engine_failed"
