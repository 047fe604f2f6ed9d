"""A PDF of text and lines, with nothing but the fonts that every reader has. The same content gives the same bytes.

Source: ISO 32000-1, sections 7.5 (file structure), 9.6.2.2 (the standard fonts) and D.2 (WinAnsiEncoding, which is cp1252).
Letters beyond cp1252 cannot be shown by these fonts; a question mark stands for each.
"""

from dataclasses import dataclass, field

WIDTH, HEIGHT, MARGIN = 595, 842, 50  # A4, in points
# Of Helvetica, in thousandths of its size, from the space to the tilde. Source: Adobe's font metrics.
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556,
    556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778,
    722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222,
    500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
_OTHER = 556


def width_of(text: str, size: float) -> float:
    """Points that a text takes in Helvetica."""
    return sum(_WIDTHS[ord(letter) - 32] if " " <= letter <= "~" else _OTHER for letter in text) * size / 1000


def fitted(text: str, size: float, points: float) -> str:
    """The text, cut with three dots where it is wider than that."""
    if width_of(text, size) <= points:
        return text
    while text and width_of(text + "...", size) > points:
        text = text[:-1]
    return text + "..."


@dataclass
class Pdf:
    """Pages, filled from the top. `y` is where the next line of text stands."""

    title: str
    pages: list[list[bytes]] = field(default_factory=list)
    y: float = 0

    def page(self) -> None:
        """Go on at the top of a new page."""
        self.pages.append([])
        self.y = HEIGHT - MARGIN

    def text(self, x: float, text: str, size: float = 9, *, bold: bool = False, right: bool = False) -> None:
        """Text at the current line. `right`: it ends at x."""
        start = x - width_of(text, size) if right else x
        escaped = text.encode("cp1252", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        escaped = bytes(32 if byte < 32 else byte for byte in escaped)
        font = b"F2" if bold else b"F1"
        self.pages[-1].append(b"BT /%s %g Tf %.2f %.2f Td (%s) Tj ET" % (font, size, start, self.y, escaped))

    def rule(self) -> None:
        """A line across the page."""
        self.pages[-1].append(b"0.5 w %d %.2f m %d %.2f l S" % (MARGIN, self.y, WIDTH - MARGIN, self.y))

    def down(self, points: float) -> bool:
        """Move down; where the page ends a new one begins, and the answer is True."""
        self.y -= points
        if self.y < MARGIN:
            self.page()
            return True
        return False

    def data(self) -> bytes:
        """The file."""
        count = len(self.pages)
        kids = b" ".join(b"%d 0 R" % (5 + 2 * number) for number in range(count))
        title = ("\ufeff" + self.title).encode("utf-16-be").hex().encode()
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
            b"<< /F1 %s /F2 %s >>" % (_font(b"Helvetica"), _font(b"Helvetica-Bold")),
            # No instant and no name of a program: they would differ from one copy to the next.
            b"<< /Title <%s> >>" % title,
        ]
        for number, page in enumerate(self.pages):
            stream = b"\n".join(page)
            objects += [
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources << /Font 3 0 R >> /Contents %d 0 R >>"
                % (WIDTH, HEIGHT, 6 + 2 * number),
                b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
            ]
        out, offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
        for number, body in enumerate(objects, start=1):
            offsets.append(len(out))
            out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        start = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
        out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        out += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
        return bytes(out)


def _font(name: bytes) -> bytes:
    return b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>" % name
