"""What the router knows of models, engines and prices: read whole, replaced whole when the control tables change."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import AsyncConnection

from warehouse.access import catalogue
from warehouse.access.catalogue import Alias, Engine, Model, Price


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One reading of the control tables. It is never changed; a newer one takes its place."""

    models: Mapping[str, Model] = field(default_factory=dict)
    engines: Mapping[str, Sequence[Engine]] = field(default_factory=dict)
    prices: Mapping[int, Mapping[int | None, Sequence[Price]]] = field(default_factory=dict)
    """{model id: {organization id or None for all others: versions in the order of choice}}"""
    aliases: Mapping[tuple[int | None, str], Alias] = field(default_factory=dict)
    """{(organization id or None for everybody, name): what it stands for}"""

    @classmethod
    def of(
        cls, models: Iterable[Model], engines: Iterable[Engine], prices: Iterable[Price], aliases: Iterable[Alias] = ()
    ) -> "Catalogue":
        """The rows, arranged by model."""
        by_model: defaultdict[str, list[Engine]] = defaultdict(list)
        for engine in engines:
            by_model[engine.model].append(engine)
        by_name = {(alias.org_id, alias.name): alias for alias in aliases}
        return cls({model.name: model for model in models}, dict(by_model), _in_order(prices), by_name)

    @classmethod
    async def load(cls, conn: AsyncConnection) -> "Catalogue":
        """Read from the control tables."""
        return cls.of(
            await catalogue.list_models(conn),
            await catalogue.list_engines(conn),
            await catalogue.list_prices(conn),
            await catalogue.list_aliases(conn),
        )

    def alias(self, org_id: int, name: str) -> Alias | None:
        """What a name stands for in an organization: its own alias, else everybody's. A model's name is never one."""
        return self.aliases.get((org_id, name)) or self.aliases.get((None, name))

    def names_of(self, org_id: int) -> list[str]:
        """Every name that requests of an organization may use, models first."""
        models = [name for name in self.models if name in self.engines]
        return models + sorted({name for owner, name in self.aliases if owner in (None, org_id)} - self.models.keys())

    def prices_for(
        self, model_id: int, org_id: int, at: datetime, endpoint: str, tags: Mapping[str, str] | None
    ) -> Sequence[Price]:
        """The versions in force of which one prices such a request: the first that is for its input tokens.

        The organization's own come before the list prices, then the higher priority. None is an error that blocks invoices.
        """
        of_model = self.prices.get(model_id)
        if of_model is None:
            return ()
        found: Sequence[Price] = ()
        for price in of_model.get(org_id) or of_model[None]:
            until = price.effective_until
            if at < price.effective_from or (until is not None and at >= until):
                continue
            if price.priority and not price.may_price(endpoint, tags):
                continue
            if price.any_input:  # what comes behind it never has its turn
                return (*found, price) if found else (price,)
            found = (*found, price)
        return found


def _in_order(prices: Iterable[Price]) -> dict[int, dict[int | None, list[Price]]]:
    """{model id: {organization id or None: its own versions and then the list prices, of each the highest priority first}}"""
    book: defaultdict[int, defaultdict[int | None, list[Price]]] = defaultdict(lambda: defaultdict(list))
    for price in sorted(prices, key=lambda price: -price.priority):
        book[price.model_id][price.org_id].append(price)
    for of_model in book.values():
        listed = of_model[None]
        for owner, versions in of_model.items():
            if owner is not None:
                versions.extend(listed)
    return {model_id: dict(of_model) for model_id, of_model in book.items()}
