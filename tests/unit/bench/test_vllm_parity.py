"""The parity's account finds what is not explained, and nothing else."""

from dataclasses import replace
from uuid import UUID

import pytest

from tests.bench.vllm_parity.account import Account, Counted, Row
from tests.bench.vllm_parity.asking import Seen, stated
from tests.bench.vllm_parity.plans import COUNTING, LEFT_SHARE, Plan, drawn

WHOLE = Plan("/v1/chat/completions", "text", 8, stream=True)
LEFT_STREAM = Plan("/v1/responses", "text", 8, stream=True, pieces=2)
LEFT = Plan("/v1/completions", "text", 8, stream=False, wait_s=0.1)
ROW = Row("chat.completions", "completed", "engine", 5, 8, 13)
ROWS = {
    UUID(int=1): ROW,
    UUID(int=2): replace(ROW, endpoint="responses", status="client_closed", input_tokens=0, output_tokens=2),
    UUID(int=3): replace(ROW, endpoint="completions", status="client_closed", input_tokens=0, output_tokens=0),
}
SEEN = [
    Seen(WHOLE, str(UUID(int=1)), False, (5, 8)),
    Seen(LEFT_STREAM, str(UUID(int=2)), True, None),
    Seen(LEFT, None, True, None),
]
PROMPTS = {("/v1/responses", "text"): 7, ("/v1/completions", "text"): 3}


@pytest.mark.parametrize("counted", [Counted(12, 10), Counted(15, 24), Counted(12, 16)])
def test_what_left_clients_explain_is_explained(counted: Counted) -> None:
    account = Account(SEEN, ROWS, counted, PROMPTS)
    assert account.mismatches() == []
    assert all(bar.reached for bar in account.bars())


@pytest.mark.parametrize(
    ("counted", "unexplained"),
    [
        (Counted(11, 10), Counted(-1, 0)),
        (Counted(16, 10), Counted(1, 0)),
        (Counted(12, 9), Counted(0, -1)),
        (Counted(12, 25), Counted(0, 1)),
    ],
)
def test_what_nothing_explains_is_found(counted: Counted, unexplained: Counted) -> None:
    account = Account(SEEN, ROWS, counted, PROMPTS)
    assert account.unexplained == unexplained
    assert len(account.mismatches()) == 1


@pytest.mark.parametrize(
    "row", [replace(ROW, output_tokens=7), replace(ROW, status="client_closed"), replace(ROW, cost_picousd=None)]
)
def test_a_whole_answer_is_its_priced_row(row: Row) -> None:
    assert Account(SEEN, ROWS | {UUID(int=1): row}, Counted(12, 10), PROMPTS).mismatches()
    assert Account(SEEN, {key: ROWS[key] for key in list(ROWS)[:2]}, Counted(12, 10), PROMPTS).mismatches()


def test_one_in_ten_of_many_requests_is_left() -> None:
    plans = drawn(2000, 7)
    assert sum(plan.leaves for plan in plans) / len(plans) == pytest.approx(LEFT_SHARE, abs=0.02)
    assert {plan.path for plan in plans} >= {"/v1/responses", "/v1/messages", *COUNTING}


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, (3, 4)),
        ({"type": "response.created", "response": {"usage": None}}, None),
        ({"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}, (3, 4)),
        ({"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 0}}}, None),
        ({"type": "message_delta", "usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4)),
        ({"count": 3, "tokens": [1, 2, 3]}, (3, 0)),
        ({"input_tokens": 3}, (3, 0)),
        ({"prompt": "text"}, None),
    ],
)
def test_usage_is_read_from_every_kind_of_answer(answer: dict[str, object], usage: tuple[int, int] | None) -> None:
    assert stated(answer) == usage
