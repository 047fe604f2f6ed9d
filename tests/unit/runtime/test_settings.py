"""Variables: read from `.env` and the environment, and a misspelt one stops the start."""

from pathlib import Path

import pytest

from deploy.local.settings import LocalSettings, read_dotenv, service_settings
from router.settings import RouterSettings
from warehouse.base.errors import SettingsError

CLASSES = {"router": RouterSettings}


def test_dotenv_takes_quotes_off_and_skips_comments(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# a comment\n\nexport ROUTER_WORKERS=2\nINFERHOUSE_ENGINE='vllm'\nA=\"b=c\"\n")
    assert read_dotenv(path) == {"ROUTER_WORKERS": "2", "INFERHOUSE_ENGINE": "vllm", "A": "b=c"}


def test_dotenv_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=b\nno assignment\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_dotenv(path)


def test_sourced_outputs_are_no_settings() -> None:
    assert LocalSettings.from_env({"INFERHOUSE_API_KEY": "sk-ih-x", "INFERHOUSE_ENGINE": ""}).engine == "auto"


def test_misspelt_own_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean INFERHOUSE_STATE_DIR"):
        LocalSettings.from_env({"INFERHOUSE_STATE_DIRR": "x"})


def test_settings_of_a_process_are_handed_down() -> None:
    env = {"ROUTER_WORKERS": "2", "HOME": "/root"}
    assert service_settings(env, CLASSES, {}) == {"ROUTER_WORKERS": "2"}


def test_misspelt_setting_of_a_process_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ROUTER_WORKER;.*ROUTER_WORKERS"):
        service_settings({"ROUTER_WORKER": "2"}, CLASSES, {})


def test_misspelt_prefix_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ROUTR_WORKERS;.*ROUTER_WORKERS"):
        service_settings({"ROUTR_WORKERS": "2"}, CLASSES, {})


def test_setting_that_the_runtime_makes_is_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"ROUTER_PORT .*set INFERHOUSE_ROUTER_PORT"):
        service_settings({"ROUTER_PORT": "1"}, CLASSES, {"ROUTER_PORT": "set INFERHOUSE_ROUTER_PORT"})
