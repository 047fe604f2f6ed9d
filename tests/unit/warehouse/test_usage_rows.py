"""The tuple of a row, read back without a database."""

from datetime import UTC, datetime
from itertools import product
from uuid import UUID

from warehouse.access.usage_rows import decode, encode, new

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_each_row_has_its_own_labels_whatever_rows_came_before() -> None:
    """What many have in common is kept as bytes: owners and engine in front, the way they ended at the end."""
    values = {
        "user_id": (None, 7), "model_id": (1, 2), "endpoint": ("chat", "score"), "status": ("completed", "client_closed"),
        "token_source": ("engine", "running"), "charge_class": ("charged", "free_refused"),
        "error_code": (None, "client_closed"), "finish_reason": (None, "stop"),
    }  # fmt: skip
    for _ in range(2):
        for chosen in product(*values.values()):
            event = new(UUID(int=1), 1, AT)
            for name, value in zip(values, chosen, strict=True):
                setattr(event, name, value)
            assert decode(encode(event)) == event
