"""The charging policy, as data: what each way of ending costs. Version 1; a change is a new decision record."""

from collections.abc import Mapping, Sequence

from warehouse.access.catalogue import Price
from warehouse.access.usage_rows import UsageEvent

CHARGE_CLASS: Mapping[str, str] = {
    "completed": "charged",
    # The engine worked until the client left: what it had produced by then, by its own running count.
    "client_closed": "charged",
    # Nothing of use was delivered: ours to bear, not the client's.
    "refused": "free_refused",
    "engine_failed": "free_engine_failed",
    "timed_out": "free_timed_out",
    "router_lost": "free_router_lost",
}
COST_PICOUSD_MAX = 2**63 - 1  # what the column holds: 9 million dollars


def apply(event: UsageEvent, prices: Sequence[Price]) -> None:
    """Set class, price and exact cost of a row whose status and tokens are known.

    Args: prices: of which one prices it, as `Catalogue.prices_for` has them.
    A charged row without a price or without counts has cost None: the marts count it and no invoice becomes final;
    it is never 0 by mistake. So has one whose cost no row can hold: its engine has stated nonsense.
    """
    event.charge_class = CHARGE_CLASS[event.status]
    event.cost_picousd = 0 if event.charge_class != "charged" else None
    if event.charge_class == "charged" and (event.token_source != "none" or event.status == "client_closed"):
        for price in prices:
            if price.any_input or price.is_for(event.input_tokens):
                cost_picousd = price.cost_picousd(
                    event.input_tokens, event.cached_input_tokens, event.output_tokens, event.reasoning_tokens
                )
                if cost_picousd <= COST_PICOUSD_MAX:
                    event.price_id, event.cost_picousd = price.id, cost_picousd
                return
