"""Named queries: a `.sql` file beside a module holds them, `-- name: find_by_id` starts each."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(module_file: str) -> Mapping[str, bytes]:
    """{name: SQL} of the `.sql` file with the module's own name. Read once, at import.

    Raises: ValueError: the file has text before its first name, or a name twice.
    """
    return parse_queries(Path(module_file).with_suffix(".sql").read_text())


def parse_queries(text: str) -> Mapping[str, bytes]:
    """{name: SQL} of a text in which `-- name: X` lines start the queries."""
    head, *rest = _NAME.split(text)
    names, bodies = rest[::2], rest[1::2]
    if head.strip() or len(set(names)) != len(names):
        raise ValueError("a query file is `-- name: x` and SQL, again and again, each name once")
    return MappingProxyType({name: body.strip().encode() for name, body in zip(names, bodies, strict=True)})
