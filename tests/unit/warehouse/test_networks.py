"""Where a request comes from cannot be written by its sender, and lists of networks agree where both have an address."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.identity.networks import client_address, narrower, parse_address, parse_network, parse_networks, within

TRUSTED = parse_networks(["10.0.0.0/8", "2001:db8::/32"])
ADDRESSES = st.ip_addresses()
NETWORKS = st.builds(
    lambda address, bits: str(ip_network((address, bits if address.version == 4 else bits * 4), strict=False)),
    ADDRESSES,
    st.integers(0, 32),
)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),  # nobody trusted says so
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, what"], None),
        ("10.0.0.1", [" , "], "10.0.0.1"),
        ("2001:db8::1", ["[2001:db9::1]:443"], "2001:db9::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], None),
        ("unix:", [], None),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    found = client_address(peer, forwarded, TRUSTED)
    assert found == (ip_address(address) if address else None)


@given(forged=st.lists(st.text()), real=ADDRESSES)
def test_what_a_client_writes_into_the_header_changes_nothing(forged: list[str], real: object) -> None:
    sent = [*forged, str(real)]
    expected = parse_address(str(real))
    if not within(expected, TRUSTED):
        assert client_address("10.0.0.1", sent, TRUSTED) == expected
    assert client_address("192.0.2.1", sent, TRUSTED) == ip_address("192.0.2.1")


@given(text=st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_address(text)
    client_address(text, [text], TRUSTED)


@given(one=st.lists(NETWORKS, max_size=4), other=st.lists(NETWORKS, max_size=4), address=ADDRESSES)
def test_an_address_is_in_both_lists_or_not_in_what_they_share(one: list[str], other: list[str], address: object) -> None:
    shared = narrower(one, other)
    assert shared is not None
    plain = parse_address(str(address))
    both = within(plain, parse_networks(one)) and within(plain, parse_networks(other))
    assert within(plain, parse_networks(shared)) == both


def test_without_a_list_the_other_one_counts() -> None:
    assert narrower(None, None) is None
    assert narrower(["10.0.0.0/8"], None) == narrower(None, ["10.0.0.0/8"]) == ["10.0.0.0/8"]
    assert narrower(["10.0.0.0/8"], ["11.0.0.0/8"]) == []


def test_ipv4_written_as_ipv6_is_ipv4() -> None:
    assert str(parse_network("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(parse_network("2001:db8::/32")) == "2001:db8::/32"
    assert within(parse_address("::ffff:10.1.2.3"), parse_networks(["10.0.0.0/8"]))
    assert not within(parse_address("10.1.2.3"), parse_networks(["::/0"]))
