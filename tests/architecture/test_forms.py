"""Whoever writes what cannot be is told in words what to enter, whatever the field."""

from collections.abc import Iterator
from typing import Any

from router import forms
from router.app import create_api
from router.settings import RouterSettings
from tests.architecture.test_routes import SETTINGS


def _patterns(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("pattern"), str):
            yield document["pattern"]
        for value in document.values():
            yield from _patterns(value)
    elif isinstance(document, list):
        for value in document:
            yield from _patterns(value)


def test_each_form_of_a_field_has_its_words() -> None:
    patterns = set(_patterns(create_api(RouterSettings.from_env(SETTINGS)).openapi()))
    assert patterns == forms.WORDS.keys()
    assert not [words for words in forms.WORDS.values() if "^" in words or "\\" in words]
