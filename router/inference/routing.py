"""Which engine gets a request: the least loaded of the healthy ones that have the model. Pure."""

import random
from collections.abc import Callable, Collection, Sequence

from warehouse.access.catalogue import Engine


def pick(
    engines: Sequence[Engine],
    in_flight: Callable[[Engine], int],
    healthy: Callable[[Engine], bool],
    tried: Collection[int] = (),
) -> Engine | None:
    """The healthy engine with the fewest requests under way, any of them where several have as few; None where none is.

    Args: tried: ids of engines that this request has asked already.
    """
    able = [engine for engine in engines if engine.id not in tried and healthy(engine)]
    if len(able) <= 1:
        return able[0] if able else None
    least = min(map(in_flight, able))
    return random.choice([engine for engine in able if in_flight(engine) == least])
