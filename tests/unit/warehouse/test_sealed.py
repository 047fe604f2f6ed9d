"""Sealed secrets open for who has the key and the name, and for nobody else."""

import pytest

from warehouse.identity.sealed import CannotOpen, Sealer

OLD, NEW = "an old sealing key", "a new sealing key"


def test_what_was_sealed_opens_under_its_name() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal("a secret", "engine-a")
    assert sealer.open(sealed, "engine-a") == "a secret"
    assert b"a secret" not in sealed
    assert sealer.seal("a secret", "engine-a") != sealed


def test_another_name_another_key_or_another_byte_opens_nothing() -> None:
    sealed = Sealer([OLD]).seal("a secret", "engine-a")
    for sealer, said, name in (
        (Sealer([OLD]), sealed, "engine-b"),
        (Sealer([NEW]), sealed, "engine-a"),
        *((Sealer([OLD]), sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "engine-a") for at in range(len(sealed))),
        (Sealer([OLD]), b"", "engine-a"),
        (Sealer([OLD]), sealed[:1], "engine-a"),
        (Sealer([OLD]), sealed[:12], "engine-a"),
    ):
        with pytest.raises(CannotOpen):
            sealer.open(said, name)


def test_a_key_is_replaced_without_a_gap() -> None:
    sealed = Sealer([OLD]).seal("a secret", "engine-a")
    both = Sealer([NEW, OLD])
    assert both.open(sealed, "engine-a") == "a secret"
    assert Sealer([NEW]).open(both.seal(both.open(sealed, "engine-a"), "engine-a"), "engine-a") == "a secret"


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(ValueError, match="no key"):
        Sealer([""])
