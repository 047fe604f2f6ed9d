"""A port that is given up lets nobody connect any more, and cuts nobody off who has."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from router.listening import _IP_MINTTL, _IPV6_MINHOPCOUNT, give_up, let_in

KEPT_OUT_S = 0.5
PLACES = [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")]


@pytest.fixture(params=PLACES, ids=lambda place: f"{place[1]} at {place[0]}")
def place(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """A listening socket, and where a client reaches it."""
    host, client = request.param
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listening:
        yield listening, (client, listening.getsockname()[1])


def test_who_has_connected_is_waited_for_and_others_are_kept_out(place: tuple[socket.socket, tuple[str, int]]) -> None:
    listening, at = place
    with socket.create_connection(at) as early:
        steps = give_up([listening])
        next(steps)
        with pytest.raises(TimeoutError):
            socket.create_connection(at, timeout=KEPT_OUT_S)
        next(steps)  # it is not accepted yet
        with listening.accept()[0] as accepted:
            assert list(steps) == []
            early.sendall(b"x")
            assert accepted.recv(1) == b"x"


def test_who_was_about_to_connect_is_heard_once_accepted(place: tuple[socket.socket, tuple[str, int]]) -> None:
    listening, at = place
    if listening.family == socket.AF_INET6:
        listening_rules = [(socket.IPPROTO_IP, _IP_MINTTL), (socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT)]
    else:
        listening_rules = [(socket.IPPROTO_IP, _IP_MINTTL)]
    with socket.create_connection(at) as client, listening.accept()[0] as accepted:
        for level, rule in listening_rules:
            accepted.setsockopt(level, rule, 255)
        client.sendall(b"x")
        accepted.settimeout(KEPT_OUT_S)
        with pytest.raises(TimeoutError):
            accepted.recv(1)
        let_in(accepted)
        accepted.settimeout(60)
        assert accepted.recv(1) == b"x"


class _Bare(socket.socket):
    """One of a system that does not know the options."""

    def setsockopt(self, *_: object) -> None:
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_where_the_options_do_not_exist_connections_are_served_and_a_stop_goes_on(family: int, host: str) -> None:
    with _Bare(family, socket.SOCK_STREAM) as listening:
        listening.bind((host, 0))
        listening.listen()
        with socket.create_connection((host, listening.getsockname()[1])):
            steps = give_up([listening])
            next(steps)
            listening.accept()[0].close()
            assert list(steps) == []
        let_in(listening)
