"""A file that says what an organization is to be: read, with the line of whatever is wrong in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BYTES_MAX = 1_000_000
Shape = Any
"""A mapping of names to shapes (`name!` is required), a list of one shape, or the name of a scalar."""

_SCALARS = {
    "text": re.compile(r".{1,2000}", re.DOTALL),
    "number": re.compile(r"\d{1,18}"),
    "usd": re.compile(r"\d{1,12}(\.\d{1,12})?"),
    "boolean": re.compile(r"true|false"),
}
_RATES = {
    "requests_per_minute": "number",
    "input_tokens_per_minute": "number",
    "output_tokens_per_minute": "number",
    "requests_at_once": "number",
}
_BUDGET = {"period!": "text", "limit_usd!": "usd", "mode": "text", "alert_percents": ["number"], "model": "text"}
_LIMIT = {**_RATES, "mode": "text", "model": "text"}
_PERSON = {"email!": "text", "role!": "text"}
SHAPE: Shape = {
    "organization": {
        "name": "text",
        "time_zone": "text",
        "key_days_max": "number",
        "keys_per_member_max": "number",
        "key_models": ["text"],
        "key_cidrs": ["text"],
        "totp_required": "boolean",
        "answers_kept_s": "number",
        "when_redis_is_down": "text",
    },
    "members": [_PERSON],
    "projects": [
        {
            "name!": "text",
            "members": [_PERSON],
            "service_accounts": [{"name!": "text", "role": "text"}],
            "budgets": [_BUDGET],
            "limits": [_LIMIT],
        }
    ],
    "budgets": [_BUDGET],
    "limits": [_LIMIT],
    "sql_access": [{"name!": "text"}],
    "platform": {
        "models": [{"id!": "text", "context_tokens_max!": "number", "output_tokens_max!": "number"}],
        "engines": [{"id!": "text", "kind!": "text", "base_url!": "text", "model!": "text"}],
        "prices": [
            {
                "model!": "text",
                "organization": "text",
                "input_usd_per_million!": "usd",
                "cached_input_usd_per_million!": "usd",
                "output_usd_per_million!": "usd",
                "reason": "text",
            }
        ],
    },
}


class Invalid(Exception):
    """The file is wrong; the message has file and line."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads nodes, because they know their lines, and numbers as they are written: none becomes a float."""

    name: str

    def read(self, node: yaml.Node, shape: Shape, what: str) -> Any:
        """The value of a node. Raises: Invalid."""
        if isinstance(shape, Mapping):
            return self._mapping(node, shape, what)
        if isinstance(shape, list):
            if not isinstance(node, yaml.SequenceNode):
                raise self.invalid(node, f"{what} is a list")
            return [self.read(inner, shape[0], f"an entry of {what}") for inner in node.value]
        return self._scalar(node, shape, what)

    def _mapping(self, node: yaml.Node, shape: Mapping[str, Shape], what: str) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise self.invalid(node, f"{what} has names and values")
        shapes = {name.removesuffix("!"): inner for name, inner in shape.items()}
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in shapes:
                raise self.invalid(key, f"{what} has no {name!r}; it has {', '.join(shapes)}")
            if name in found:
                raise self.invalid(key, f"{name!r} is there twice")
            found[name] = self.read(value, shapes[name], name)
        missing = [name[:-1] for name in shape if name.endswith("!") and found.get(name[:-1]) is None]
        if missing:
            raise self.invalid(node, f"{what} lacks {', '.join(missing)}")
        return found

    def _scalar(self, node: yaml.Node, kind: str, what: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self.invalid(node, f"{what} is a {kind}")
        if node.tag == "tag:yaml.org,2002:null":
            return None
        said = node.value.replace("_", "") if kind in {"number", "usd"} else node.value
        if not _SCALARS[kind].fullmatch(said):
            raise self.invalid(node, f"{what} is a {kind}, not {node.value!r}")
        return int(said) if kind == "number" else said == "true" if kind == "boolean" else said

    def invalid(self, node: yaml.Node, says: str) -> Invalid:
        """The error at a node's line."""
        return Invalid(f"{self.name}, line {node.start_mark.line + 1}: {says}")


def read(path: Path) -> dict[str, Any]:
    """What the file declares, by the names of SHAPE; what it does not name is absent. Raises: Invalid."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > BYTES_MAX:
        raise Invalid(f"{path} is larger than {BYTES_MAX} bytes")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise Invalid(f"{path}{line}: this is no YAML: {getattr(error, 'problem', None) or error}") from error
    if node is None:
        raise Invalid(f"{path} is empty")
    declared: dict[str, Any] = _Reader(str(path)).read(node, SHAPE, "the file")
    return declared
