"""Ports: the usual ones, others where those are taken, the same again."""

import socket
from pathlib import Path

import pytest

from deploy.local import ports
from deploy.local.account import service_account
from deploy.local.errors import PreflightFailed


def listener(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_taken_port_is_replaced_and_the_choice_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listener() as other:
        usual = other.getsockname()[1]
        monkeypatch.setitem(ports.USUAL, "router", usual)
        first = ports.choose({}, tmp_path / "ports.json", service_account(), keep=False)
        assert first["router"] != usual
        assert len(set(first.values())) == len(ports.USUAL)
    again = ports.choose({}, tmp_path / "ports.json", service_account(), keep=False)
    assert again == first


def test_port_asked_for_must_be_free(tmp_path: Path) -> None:
    with listener() as other, pytest.raises(PreflightFailed, match="INFERHOUSE_PORTAL_PORT"):
        ports.choose({"portal": other.getsockname()[1]}, tmp_path / "ports.json", service_account(), keep=False)


def test_running_instance_keeps_its_ports(tmp_path: Path) -> None:
    first = ports.choose({}, tmp_path / "ports.json", service_account(), keep=False)
    with listener(first["router"]):
        assert ports.choose({}, tmp_path / "ports.json", service_account(), keep=True) == first
