"""What the documents list: tables whose first cell is a name in backticks."""

import re

from tests.architecture.tree import ROOT

_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)
_HEADING = re.compile(r"^##? (.+)$", re.MULTILINE)


def listed(document: str, *, below: str = "") -> dict[str, str]:
    """{name: the rest of its row} of a document's tables, or of the part below one heading."""
    text = (ROOT / "docs" / document).read_text()
    if below:
        parts = _HEADING.split(text)
        text = dict(zip(parts[1::2], parts[2::2], strict=True))[below]
    rows = _ROW.findall(text)
    assert len(dict(rows)) == len(rows), f"a name is twice in {document}"
    return dict(rows)
