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
    prices: Mapping[tuple[int, int | None], Sequence[Price]] = field(default_factory=dict)
    aliases: Mapping[tuple[int | None, str], Alias] = field(default_factory=dict)
    """{(organization id or None for everybody, name): what it stands for}"""

    @classmethod
    def of(
        cls, models: Iterable[Model], engines: Iterable[Engine], prices: Iterable[Price], aliases: Iterable[Alias] = ()
    ) -> "Catalogue":
        """The rows, arranged by model, and by (model id, organization id or None for the list price)."""
        by_model: defaultdict[str, list[Engine]] = defaultdict(list)
        for engine in engines:
            by_model[engine.model].append(engine)
        by_owner: defaultdict[tuple[int, int | None], list[Price]] = defaultdict(list)
        for price in prices:
            by_owner[price.model_id, price.org_id].append(price)
        by_name = {(alias.org_id, alias.name): alias for alias in aliases}
        return cls({model.name: model for model in models}, dict(by_model), dict(by_owner), by_name)

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

    def price(self, model_id: int, org_id: int, at: datetime) -> Price | None:
        """The version in force for this organization: its own, else the list price; None is an error that blocks invoices."""
        for owner in (org_id, None):
            for price in self.prices.get((model_id, owner), ()):
                if price.in_force(at):
                    return price
        return None
