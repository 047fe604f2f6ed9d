"""From the name that a request has to the models that may answer it, decided once for each kind of caller. Pure."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.inference.catalogue import Catalogue
from router.inference.served import Served

MODELS_NAMED_MAX = 20  # in the answer to an unknown model


@dataclass(frozen=True, slots=True)
class Stage:
    """Models of which one is chosen by weight; the others follow it."""

    served: tuple[Served, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """What a name stands for. `fixed`: the models in order, where nothing is left to chance."""

    stages: tuple[Stage, ...]
    fixed: tuple[Served, ...] | None

    @classmethod
    def of(cls, stages: Sequence[Stage]) -> "Route":
        """A route of stages that each have at least one model; a model counts where it comes first."""
        fixed = None
        if all(len(stage.served) == 1 for stage in stages):
            fixed = tuple(dict.fromkeys(stage.served[0] for stage in stages))
        return cls(tuple(stages), fixed)

    def order(self, chance: random.Random) -> tuple[Served, ...]:
        """The models, the one to be asked first at the front."""
        if self.fixed is not None:
            return self.fixed
        found: dict[Served, None] = {}
        for stage in self.stages:
            left, weights = list(stage.served), list(stage.weights)
            while left:
                place = chance.choices(range(len(left)), weights)[0] if len(left) > 1 else 0
                found[left.pop(place)] = None
                weights.pop(place)
        return tuple(found)


def route_of(
    catalogue: Catalogue, served: Callable[[str], Served | None], name: str, org_id: int, models: frozenset[str] | None
) -> Route | None:
    """What a name stands for, for callers of an organization with this list of models; None: nothing.

    A list that has an alias's name allows all that is behind it; otherwise those of its models that the list has.
    Args: served: the model of a name that is in service and has engines.
    """
    own = served(name)
    if own is not None:
        return Route.of([Stage((own,), (1,))]) if models is None or name in models else None
    alias = catalogue.alias(org_id, name)
    if alias is None:
        return None
    allowed = None if models is None or name in models else models
    stages = []
    for entries in alias.stages:
        usable = [
            (found, entry["weight"])
            for entry in entries
            if entry["weight"] > 0
            and (allowed is None or entry["model"] in allowed)
            and (found := served(entry["model"])) is not None
        ]
        if usable:
            stages.append(Stage(tuple(found for found, _ in usable), tuple(weight for _, weight in usable)))
    return Route.of(stages) if stages else None
