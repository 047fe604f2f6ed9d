"""The stack in containers is valid, hardened, pinned, and speaks of settings that exist."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.images.new_env import gpu_profiles, new_env
from deploy.images.seed_input import SeedInputSettings, seed_input
from engines import catalog
from router.__main__ import ENDING_S_MAX
from router.settings import RouterSettings
from warehouse.base.errors import SettingsError
from warehouse.base.settings import Settings
from warehouse.identity.keys import ApiKeySecret

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((ROOT / "deploy" / "images").glob("*.Dockerfile"))
COMPOSE_FILE = ROOT / "docker-compose.yml"
REQUIRED = sorted(set(re.findall(r"\$\{(STACK_\w+):\?", COMPOSE_FILE.read_text(encoding="utf-8"))))
SHUTDOWN_S_MAX = RouterSettings.model_fields["shutdown_s_max"].default
ONE_SHOTS = {"setup"}
BASES = {"postgres", "redis"}
SETTINGS_MODULES = (
    "dashboards.settings",
    "deploy.images.seed_input",
    "engines.simulated.settings",
    "orchestration.settings",
    "router.settings",
    "warehouse.settings",
)


def compose(env: Mapping[str, str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """`docker-compose config` with these variables and no others."""
    dotenv = tmp_path / "env"
    dotenv.write_text("\n".join(f"{name}='{value}'" for name, value in env.items()), encoding="utf-8")
    command = [str(BIN / "docker-compose"), "--profile", "*", "--env-file", str(dotenv), "config", "--format", "json"]
    clean = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(tmp_path)}
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = compose(new_env("gpu", "h200"), tmp_path_factory.mktemp("compose"))
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved


def test_the_whole_product_is_there(stack: dict[str, Any]) -> None:
    assert set(stack["services"]) == {
        "postgres", "redis", "setup", "router", "management", "engine-simulated", "engine-cpu", "engine-gpu",
        "dagster-code", "dagster-webserver", "dagster-daemon", "portal",
    }  # fmt: skip


def test_every_service_has_a_healthcheck_or_ends_by_itself(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        if name in ONE_SHOTS:
            waiting = [other["depends_on"][name] for other in stack["services"].values() if name in other.get("depends_on", {})]
            assert waiting
            assert all(wait["condition"] == "service_completed_successfully" for wait in waiting)
        else:
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_every_service_is_pinned_unprivileged_and_read_only(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        assert re.fullmatch(r"[^:]+:[a-z-]*v?\d+\.\d+\.\d+[a-z0-9.-]*", service["image"]), name
        user, _, group = service["user"].partition(":")
        assert int(user) > 0, name
        assert int(group) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name


def test_a_router_is_given_the_time_that_its_running_answers_may_take(stack: dict[str, Any]) -> None:
    for name in ("router", "management"):
        minutes, seconds = re.fullmatch(r"(\d+)m(\d+)s", stack["services"][name]["stop_grace_period"]).groups()  # type: ignore[union-attr]
        granted_s = 60 * int(minutes) + int(seconds)
        allowed_s = int(stack["services"][name]["environment"].get("ROUTER_SHUTDOWN_S_MAX", SHUTDOWN_S_MAX))
        assert granted_s >= allowed_s + ENDING_S_MAX, name


def test_only_the_front_is_published_and_only_locally(stack: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in stack["services"].items() if service.get("ports")}
    assert set(published) == {"router", "portal", "dagster-webserver"}
    assert all(port["host_ip"] == "127.0.0.1" for ports in published.values() for port in ports)
    assert stack["networks"]["data"]["internal"] is stack["networks"]["engines"]["internal"] is True


def test_what_asks_nobody_who_they_are_stays_on_this_machine(tmp_path: Path) -> None:
    done = compose(new_env("simulated", "h200") | {"STACK_BIND": "0.0.0.0"}, tmp_path)
    services = json.loads(done.stdout)["services"]
    bound = {name: {port["host_ip"] for port in service["ports"]} for name, service in services.items() if service.get("ports")}
    assert bound == {"router": {"0.0.0.0"}, "portal": {"0.0.0.0"}, "dagster-webserver": {"127.0.0.1"}}


def test_the_routers_keep_providers_keys_and_know_from_where_people_come(tmp_path: Path) -> None:
    done = compose(new_env("simulated", "h200") | {"STACK_TRUSTED_PROXIES": "203.0.113.0/24"}, tmp_path)
    services = json.loads(done.stdout)["services"]
    router, management = (RouterSettings.from_env(services[name]["environment"]) for name in ("router", "management"))
    assert router.sealer is not None
    assert router.sealing_key == management.sealing_key
    assert [str(network) for network in router.proxies] == ["203.0.113.0/24"]
    assert all(network.is_private for network in management.proxies)
    assert set(services["management"]["networks"]) >= set(services["router"]["networks"])


def test_every_variable_is_a_setting_of_the_process_that_gets_it(stack: dict[str, Any]) -> None:
    for module in SETTINGS_MODULES:
        importlib.import_module(module)
    classes = {settings.PREFIX: settings for settings in Settings.__subclasses__()}
    known = {f"{prefix}{field.upper()}" for prefix, settings in classes.items() for field in settings.model_fields}
    for name, service in stack["services"].items():
        env: dict[str, str] = service.get("environment") or {}
        if name not in BASES:
            assert set(env) <= known, name
        for prefix, settings in classes.items():
            own = {variable: value for variable, value in env.items() if variable.startswith(prefix)}
            # Dagster's web server and daemon load none of our code, and get no password but their own.
            if own and name not in ("dagster-webserver", "dagster-daemon"):
                settings.from_env(own)


@pytest.mark.parametrize("missing", REQUIRED)
def test_no_secret_has_a_default(missing: str, tmp_path: Path) -> None:
    env = new_env("simulated", "h200")
    del env[missing]
    done = compose(env, tmp_path)
    assert done.returncode != 0
    assert missing in done.stderr
    assert "new_env.py" in done.stderr


def test_every_new_variable_is_used() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE_FILE.read_text(encoding="utf-8")))
    assert set(new_env("simulated", "h200")) - {"COMPOSE_PROFILES"} <= used


def test_no_password_is_written_in_the_file() -> None:
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    named = re.findall(r"^\s+(\w*(?:PASSWORDS?|SECRET|PEPPER|AUTH|KEY)): (.*)$", text, re.MULTILINE)
    assert len(named) > 8
    assert all(value.startswith("${STACK_") for _, value in named)
    assert all(password.startswith("${STACK_") for password in re.findall(r"://\w*:([^@\n]+)@", text))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_are_clean(path: Path) -> None:
    done = subprocess.run([BIN / "hadolint", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_pin_their_bases_and_end_unprivileged(path: Path) -> None:
    """A target that starts from another target has its user; one that starts from a base must set its own."""
    stages: dict[str, str] = {}
    for block in re.split(r"^FROM ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        base, _, name = block.splitlines()[0].partition(" AS ")
        if base not in stages:
            assert re.search(r":v?\d+\.\d+\.\d+", base), base
        stages[name] = (re.findall(r"^USER (\S+)", block, re.MULTILINE) or [stages.get(base, "root")])[-1]
    built = {name: user for name, user in stages.items() if "packages" not in name and not name.endswith("-model")}
    assert built
    assert all(user == "10001:10001" for user in built.values()), built


def test_every_built_image_has_its_target(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        if "build" in service:
            text = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
            assert f" AS {service['build']['target']}\n" in text, name


def test_what_the_images_copy_is_not_ignored() -> None:
    """The ignore file lets single paths through; every path that a COPY names must be among them."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in DOCKERFILES:
        for source in re.findall(r"^COPY (?!--from)(\S+) ", path.read_text(encoding="utf-8"), re.MULTILINE):
            if source != ".":
                assert any(Path(source).match(pattern) or source == pattern for pattern in allowed), source
    assert ".env" not in allowed


def test_the_scripts_are_clean() -> None:
    scripts = sorted((ROOT / "deploy" / "images").glob("*.sh"))
    assert scripts
    subprocess.run([BIN / "shellcheck", *scripts], check=True)


def test_the_seed_gets_engines_models_and_keys_that_it_can_read() -> None:
    for profile in gpu_profiles():
        content = seed_input(seed_settings(new_env("gpu", profile)))
        engines: Any = content["engines"]
        models: Any = content["models"]
        assert [engine["kind"] for engine in engines] == ["simulated", "vllm"]
        assert {engine["model"] for engine in engines} == {model["name"] for model in models}
        assert catalog.load().profile(profile).model in {model["name"] for model in models}
        demo: Any = content["demo"]
        assert ApiKeySecret.parse(demo["api_key"])
        assert ApiKeySecret.parse(demo["admin_key"])


@pytest.mark.parametrize("engines", ["simulated", "a=b:c@http://x", "a=vllm:simulated@http://x/v1"])
def test_a_wrong_engine_is_refused_before_anything_is_seeded(engines: str) -> None:
    with pytest.raises(SettingsError, match="NAME=KIND:MODEL@BASE_URL"):
        seed_input(seed_settings({**new_env("simulated", "h200"), "STACK_ENGINES": engines}))


def seed_settings(env: Mapping[str, str]) -> SeedInputSettings:
    """As docker-compose.yml hands them to the setup service."""
    return SeedInputSettings(
        engines=env["STACK_ENGINES"],
        organization=env["STACK_ORGANIZATION"],
        project=env["STACK_PROJECT"],
        user=env["STACK_USER"],
        password=env["STACK_ADMIN_PASSWORD"],  # type: ignore[arg-type]
        api_key=env["STACK_API_KEY"],  # type: ignore[arg-type]
        admin_key=env["STACK_ADMIN_KEY"],  # type: ignore[arg-type]
        sql_password=env["STACK_SQL_PASSWORD"],  # type: ignore[arg-type]
    )
