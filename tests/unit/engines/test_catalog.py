"""The catalogue is right, and a wrong one is refused with a message that leads to the mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engines.catalog import CATALOG_PATH, UnknownName, load
from engines.simulated.tokens import TEMPLATE_TOKENS_PER_CALL, TEMPLATE_TOKENS_PER_MESSAGE
from warehouse.base.errors import SettingsError


def write(tmp_path: Path, old: str, new: str) -> Path:
    """The shipped catalogue with one passage changed."""
    text = CATALOG_PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "catalog.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_list_prices_are_exact_pico_dollars_per_token() -> None:
    price = load().model("smollm2-135m-instruct").list_price
    assert (price.input_picousd, price.cached_input_picousd, price.output_picousd) == (20_000, 10_000, 60_000)


def test_the_simulated_model_and_a_cpu_profile_are_always_there() -> None:
    catalog = load()
    assert catalog.model("simulated").context_tokens_max > 0
    assert catalog.profile("cpu-small").model == "smollm2-135m-instruct"


def test_the_simulated_template_stays_within_what_the_catalogue_promises() -> None:
    model = load().model("simulated")
    assert model.template_tokens_per_call >= TEMPLATE_TOKENS_PER_CALL
    assert model.template_tokens_per_message >= TEMPLATE_TOKENS_PER_MESSAGE


@pytest.mark.parametrize(
    ("old", "new", "key", "advice"),
    [
        ("sequences_max = 8\n", "sequence_max = 8\n", "profiles.cpu-small.sequence_max", "did you mean sequences_max?"),
        ('license = "Apache-2.0"', 'licence = "Apache-2.0"', "models.simulated.licence", "did you mean license?"),
        ("cached_input = ", "cache_input = ", "models.simulated.list_price.cache_input", "did you mean cached_input?"),
        ("[models.simulated]", "[model.simulated]", "model", "did you mean models?"),
        (
            'model = "smollm2-135m-instruct"',
            'model = "smollm-135m"',
            "profiles.cpu-small.model",
            "smollm2-135m-instruct?",
        ),
        ("[models.simulated]", "[models.simulation]", "models", "'simulated' is missing"),
        ('input = "0.10"', "input = 0.10", "models.simulated.list_price.input", "as text"),
        ('input = "0.10"', 'input = "0.0000001"', "models.simulated.list_price.input", "6 decimals"),
        ('input = "0.10"', 'input = "-1"', "models.simulated.list_price.input", "at least 0"),
        ("output_tokens_max = 8192", "output_tokens_max = 99999", "models.simulated", "above context_tokens_max"),
        ("tensor_parallel = 4", "tensor_parallel = 2", "profiles.h100-tensor-4", "the 4 GPUs"),
        ('executor = "ray"', 'executor = "mp"', "profiles.h100-two-nodes", 'executor = "ray"'),
        ('gpu = "NVIDIA L4"\n', "", "profiles.l4", 'device is "cuda"'),
        ("VLLM_CPU_KVCACHE_SPACE", "LD_PRELOAD", "profiles.cpu-small.environment.LD_PRELOAD", "match pattern"),
        ("memory_gib_min = 6\n", "", "profiles.cpu-small.memory_gib_min", "is missing"),
    ],
)
def test_a_wrong_entry_is_named_with_file_key_and_advice(tmp_path: Path, old: str, new: str, key: str, advice: str) -> None:
    path = write(tmp_path, old, new)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert f" {key}" in str(caught.value)
    assert advice in str(caught.value)


def test_a_file_that_is_no_toml_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    with pytest.raises(SettingsError, match=r"catalog\.toml"):
        load(path)
    path.write_text("models = [", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"catalog\.toml"):
        load(path)


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean cpu-small"):
        load().profile("cpu-smal")
    with pytest.raises(UnknownName, match="did you mean simulated"):
        load().model("simulate")


def test_the_command_prints_models_with_integer_prices() -> None:
    done = subprocess.run([sys.executable, "-m", "engines.catalog"], capture_output=True, text=True, check=True)
    models = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert set(models) == set(load().models)
    assert all(type(price) is int for model in models.values() for price in model["list_price"].values())
