"""The catalogue: which models there are, what they cost, and how an engine is started for each kind of machine.

`python -m engines.catalog` prints the models with prices in pico-dollars per token, for whoever fills the control tables.
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from warehouse.base.errors import InferhouseError, NotFound, SettingsError
from warehouse.base.money import picousd_per_token
from warehouse.base.settings import nearest

CATALOG_PATH = Path(__file__).with_name("catalog.toml")
SIMULATED = "simulated"
PRICE_PICOUSD_MAX = 10**12  # as the check on control.prices: 1 USD for a single token


def _price(text: object) -> int:
    """Whole pico-dollars per token of a price written as text; a TOML float has already lost its decimals."""
    if not isinstance(text, str):  # pydantic reports a ValueError under its key, and lets a TypeError through
        raise ValueError('write the price as text, such as "0.10", in USD per million tokens')  # noqa: TRY004
    return picousd_per_token(text)


PicousdPerToken = Annotated[int, BeforeValidator(_price), Field(ge=0, le=PRICE_PICOUSD_MAX)]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[str, Field(pattern=r"^0\.[0-9]{1,3}$")]  # text: it goes to the command line as it stands
NameOfModel = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]  # as control.models
NameOfProfile = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]  # as control.engines
# Only what tunes an engine; PATH, LD_PRELOAD or a key have no place in a catalogue.
EngineVariable = Annotated[str, Field(pattern=r"^(VLLM|OMP|NCCL|CUDA|RAY|TORCH|PYTORCH)_[A-Z0-9_]+$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ListPrice(_Entry):
    """Pico-dollars per token; in the file, USD per million tokens as text."""

    input_picousd: PicousdPerToken = Field(alias="input")
    cached_input_picousd: PicousdPerToken = Field(alias="cached_input")
    output_picousd: PicousdPerToken = Field(alias="output")


class Model(_Entry):
    """A model under the name that callers use. Token figures are upper bounds."""

    name: NameOfModel
    source: str
    license: str
    context_tokens_max: Positive
    output_tokens_max: Positive
    template_tokens_per_call: int = Field(ge=0)
    template_tokens_per_message: int = Field(ge=0)
    list_price: ListPrice

    @model_validator(mode="after")
    def _output_fits_the_context(self) -> Self:
        if self.output_tokens_max > self.context_tokens_max:
            raise ValueError("output_tokens_max is above context_tokens_max")
        return self


class Profile(_Entry):
    """How vLLM is started for one model on one kind of machine. Memory is the host's, in GiB."""

    name: NameOfProfile
    summary: str
    model: str
    device: Literal["cpu", "cuda"]
    memory_gib_min: Positive
    sequences_max: Positive
    gpu: str | None = None
    gpus_per_node: Positive = 1
    nodes: Positive = 1
    tensor_parallel: Positive = 1
    pipeline_parallel: Positive = 1
    executor: Literal["mp", "ray"] | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    gpu_memory_share: Share | None = None
    batched_tokens_max: Positive | None = None
    enforce_eager: bool = False
    environment: dict[EngineVariable, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.device == "cuda") != (self.gpu is not None):
            raise ValueError('gpu is named when device is "cuda", and only then')
        if self.device == "cpu" and self.gpu_memory_share is not None:
            raise ValueError('gpu_memory_share has no meaning when device is "cpu"')
        gpus = self.gpus_per_node * self.nodes
        if self.tensor_parallel * self.pipeline_parallel != gpus:
            raise ValueError(f"tensor_parallel * pipeline_parallel must be the {gpus} GPUs of all nodes")
        if self.nodes > 1 and self.executor != "ray":
            raise ValueError('more than one node needs executor = "ray"')
        return self


class Catalog(_Entry):
    """Everything in one file, by name."""

    models: Mapping[str, Model]
    profiles: Mapping[str, Profile]

    def model(self, name: str) -> Model:
        """Raises: UnknownName: no such model."""
        return _lookup("model", name, self.models)

    def profile(self, name: str) -> Profile:
        """Raises: UnknownName: no such profile."""
        return _lookup("profile", name, self.profiles)


class UnknownName(NotFound):
    """A model or profile that the catalogue does not have; the message gives the nearest one it has."""

    code = "unknown_name"


EntryT = TypeVar("EntryT")


def _lookup(kind: str, name: str, entries: Mapping[str, EntryT]) -> EntryT:
    try:
        return entries[name]
    except KeyError:
        raise UnknownName(f"no {kind} named {name!r}; {nearest(name, list(entries))}", param=kind) from None


def load(path: Path = CATALOG_PATH) -> Catalog:
    """The catalogue in `path`.

    Raises: SettingsError: the file is missing, no TOML, or an entry is wrong; names the file, the key and, for a
        misspelt key or model, the nearest right one.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as a catalogue: {error}") from error
    try:
        catalog = Catalog.model_validate({section: _named(entries) for section, entries in raw.items()})
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling is what helps.
        errors = error.errors(include_url=False, include_context=False)
        first = min(errors, key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {key}: {_complaint(first)}", param=key) from error
    if SIMULATED not in catalog.models:
        raise SettingsError(f"{path}: models: {SIMULATED!r} is missing; it must always be there", param="models")
    for profile in catalog.profiles.values():
        if profile.model not in catalog.models:
            key = f"profiles.{profile.name}.model"
            suggestion = nearest(profile.model, list(catalog.models))
            raise SettingsError(f"{path}: {key}: no model named {profile.model!r}; {suggestion}", param=key)
    return catalog


def _named(entries: object) -> object:
    """Each entry with the name that heads it, so that an entry stands on its own."""
    if not isinstance(entries, dict):
        return entries
    return {name: {"name": name, **entry} if isinstance(entry, dict) else entry for name, entry in entries.items()}


def _complaint(error: Mapping[str, Any]) -> str:
    match error["type"], error["loc"]:
        case "extra_forbidden", (key,):
            return f"unknown key; {nearest(str(key), list(Catalog.model_fields))}"
        case "extra_forbidden", ("models", _, "list_price", key):
            return f"unknown key; {nearest(str(key), [str(field.alias) for field in ListPrice.model_fields.values()])}"
        case "extra_forbidden", ("models" | "profiles" as section, _, key):
            entry: type[_Entry] = Model if section == "models" else Profile
            return f"unknown key; {nearest(str(key), [name for name in entry.model_fields if name != 'name'])}"
        case "missing", _:
            return "is missing"
        case _:
            return str(error["msg"]).removeprefix("Value error, ")


def main() -> int:
    """Print the models as JSON: `{"models": [...]}`, prices in pico-dollars per token."""
    try:
        models = [model.model_dump() for model in load().models.values()]
    except InferhouseError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    sys.stdout.write(json.dumps({"models": models}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
