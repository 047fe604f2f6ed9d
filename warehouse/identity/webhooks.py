"""What webhooks are signed with, and which addresses they may go to.

A webhook's secret is made of the installation's key, its public id and a serial number, so that the database holds none and a
rotation is one number more. The signature is that of Standard Webhooks, version 1.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import urlsplit

from warehouse.identity.networks import Address, Network, within

SECRET_PREFIX = "whsec_"
_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is routed; beside it are old site networks and ways to write IPv4


def webhook_key(key_pepper: bytes) -> bytes:
    """The key that makes the secrets of all webhooks, 32 bytes; it tells nothing of the pepper."""
    return hmac.digest(key_pepper, b"webhooks\0", hashlib.sha256)


def secret_of(key: bytes, public_id: str, serial: int) -> str:
    """The secret of a webhook as its owner is shown it. Args: serial: which of its secrets, from 1."""
    made = hmac.digest(key, f"{public_id}\0{serial}".encode(), hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(made).decode()


def signature(secrets: Iterable[str], message_id: str, sent_at: datetime, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret, whole seconds of the instant signed with them."""
    signed = b"%s.%d.%s" % (message_id.encode(), int(sent_at.timestamp()), body)
    made = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
        made.append("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode())
    return " ".join(made)


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet: not this machine, no private or link-local network, no multicast."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast


def may_go_to(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a webhook may go there. Args: allowed: networks that the operator has named beside the internet."""
    return is_public(address) or within(address, allowed)


def check_url(url: str) -> str:
    """A URL that a webhook can be sent to, its scheme in lower case as the table has it. Raises: ValueError: what is wrong."""
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("write it in ASCII without spaces; names and paths in other letters have an ASCII form")
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("it must be an https:// address with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("name and password have no place in it: the signature says who sends")
    if parts.fragment or "#" in url:
        raise ValueError("a fragment is never sent: leave it out")
    if parts.port == 0:
        raise ValueError("there is no port 0")
    return parts.scheme + url[len(parts.scheme) :]
