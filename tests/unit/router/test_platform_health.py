"""What the doctor says of figures that no test database has."""

from datetime import UTC, datetime

import pytest

from router.management.platform_health import connections
from warehouse.access.health import Facts


# (in use, workers): of 97, each worker may take 9.
@pytest.mark.parametrize(("in_use", "workers", "status"), [(77, 10, "ok"), (78, 1, "warning"), (5, 10, "ok"), (5, 11, "warning")])
def test_connections_that_do_not_fit_are_seen_before_they_are_refused(in_use: int, workers: int, status: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    facts = Facts(now, "17", {}, 0, 0, now, True, now, 0, connections_max=97, connections=in_use)
    said = connections(facts, workers)
    assert (said.status, said.message) == (
        status, f"{in_use} of 97 are in use; this router takes up to {workers * 9}"
    )  # fmt: skip
    assert (said.what_to_do is None) == (status == "ok")
