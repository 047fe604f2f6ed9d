"""Columns to PostgreSQL's binary COPY, for all rows at once.

Each row is written at its full width first, every field with room for its longest value; what a row does not need of it is
then left out by one mask. So rows of any mix of nulls and lengths stay in their order, and no row is touched by Python.
Source: PostgreSQL, COPY, file formats, binary format; numbers big-endian.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_ROWS_AT_ONCE = 4096  # 2 MB, which stays in a core's cache from the first field to the last
_LENGTH_BYTES = 4
_SIZES = {"int2": 2, "int4": 4, "int8": 8, "bool": 1, "uuid": 16}
_STORED = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "bool": "u1"}
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Words:
    """Texts that a column takes its values from; None is null. A column holds their numbers."""

    fields: NDArray[np.void]
    """Length and bytes of each, as wide as the longest."""
    kept: NDArray[np.bool_]
    """Which of these bytes are sent."""

    @classmethod
    def of(cls, words: Sequence[bytes | None]) -> "Words":
        """In their order."""
        width = _LENGTH_BYTES + max(len(word or b"") for word in words)
        fields, kept = np.zeros((len(words), width), np.uint8), np.zeros((len(words), width), np.bool_)
        for number, word in enumerate(words):
            length = -1 if word is None else len(word)
            data = length.to_bytes(_LENGTH_BYTES, "big", signed=True) + (word or b"")
            fields[number, : len(data)] = np.frombuffer(data, np.uint8)
            kept[number, : len(data)] = True
        return cls(fields.view(f"V{width}")[:, 0], kept)

    @property
    def width(self) -> int:
        """Bytes of a field."""
        return int(self.fields.dtype.itemsize)


class Encoder:
    """Rows of some columns, each a kind of number or `Words`. In a number's column -1 is null, as no number is below 0.

    A uuid is two columns of 64 bits, `name` and `name_low`; it is null where both are 0.
    """

    def __init__(self, columns: Mapping[str, str | Words]) -> None:
        self.columns = dict(columns)
        self._at: dict[str, int] = {}
        layout: list[tuple[str, str]] = [("number of fields", ">i2")]
        place = 2
        for name, kind in columns.items():
            self._at[name] = place
            if isinstance(kind, Words):
                layout.append((name, f"V{kind.width}"))
                place += kind.width
                continue
            layout.append((f"length of {name}", ">i4"))
            layout += [(name, ">u8"), (f"{name}_low", ">u8")] if kind == "uuid" else [(name, _STORED[kind])]
            place += _LENGTH_BYTES + _SIZES[kind]
        self._layout = np.dtype(layout)
        self._width = place
        blank = np.zeros(1, self._layout)
        blank["number of fields"] = len(columns)
        for name, kind in columns.items():
            if isinstance(kind, str):
                blank[f"length of {name}"] = _SIZES[kind]
        self._blank = blank.view(np.uint8)

    def encode(self, values: Columns, rows: NDArray[np.intp] | None = None) -> bytes:
        """The tuples of the rows, or of those with the numbers `rows`, without header and trailer."""
        count = len(next(iter(values.values())))
        numbers = np.arange(count) if rows is None else rows
        return b"".join(
            self._some({name: column[numbers[first : first + _ROWS_AT_ONCE]] for name, column in values.items()})
            for first in range(0, len(numbers), _ROWS_AT_ONCE)
        )

    def _some(self, values: Columns) -> bytes:
        count = len(next(iter(values.values())))
        data = np.empty((count, self._width), np.uint8)
        data[:] = self._blank
        rows = data.view(self._layout)[:, 0]
        kept = np.ones((count, self._width), np.bool_)
        for name, kind in self.columns.items():
            at = self._at[name]
            if isinstance(kind, Words):
                rows[name] = kind.fields[values[name]]
                kept[:, at : at + kind.width] = kind.kept[values[name]]
                continue
            rows[name] = values[name]
            if kind == "uuid":
                rows[f"{name}_low"] = values[f"{name}_low"]
                null = (values[name] == 0) & (values[f"{name}_low"] == 0)
            else:
                null = values[name] < 0
            if null.any():
                rows[f"length of {name}"][null] = -1
                kept[:, at + _LENGTH_BYTES : at + _LENGTH_BYTES + _SIZES[kind]] &= ~null[:, None]
        return data[kept].tobytes()
