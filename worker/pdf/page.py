"""A page of a document: its fonts, its foot, and how its parts stand. Knows nothing of billing.

Nothing in it comes from the clock or by chance: the same calls make the same bytes.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from fpdf import FPDF, Align, FontFace
from fpdf.enums import TableBordersLayout, XPos, YPos
from pymupdf_fonts import fontbuffers  # type: ignore[import-untyped]

FAMILY = "FiraGO"
_FILES = {"": "figo", "B": "figbo"}
_MARGIN_MM = 18
_FOOT_MM = 14
_LINE_MM = 5.2
_SUM_MM = 6.2
_SIZE_PT = 9.5
_INK = (30, 30, 36)
_GREY = (105, 105, 115)
_SHADE = (241, 241, 245)
_RULE = (205, 205, 212)
# For what no font has a picture of.
_UNKNOWN = "?"
# Beside ours: the font that the installation has named for other scripts.
_FALLBACK = "Fallback"

log = logging.getLogger(__name__)

Sides = tuple[str, str]


class Page(FPDF):
    """An A4 document with a foot on each page."""

    def __init__(self, *, identity: UUID, made_at: datetime, title: str, language: str) -> None:
        super().__init__()
        self._identity = identity
        self._foot = ""
        self._page = ""
        self._families = (FAMILY.lower(), _FALLBACK.lower())
        self.set_creation_date(made_at)
        self.set_title(title)
        self.set_lang(language)
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=_MARGIN_MM + _FOOT_MM)

    def file_id(self) -> str:
        """Return the document's id: its row's, where the library would take the time's hash."""
        return f"<{self._identity.hex.upper()}><{self._identity.hex.upper()}>"

    def footer(self) -> None:
        """Write the foot of a page; the library calls this."""
        self.set_y(-_FOOT_MM - _LINE_MM)
        self._write_font(7.5, colour=_GREY)
        self.cell(w=self.epw / 2, text=self._foot)
        told = f"{self._page} {self.page_no()} / {{nb}}"
        self.cell(w=self.epw / 2, text=told, align=Align.R)

    def begin(self, *, foot: str, page: str) -> None:
        """Begin the first page.

        Args:
            foot: what stands at each page's foot.
            page: the word before its number.
        """
        self._foot, self._page = self.known(foot), page
        self.add_page()

    def known(self, text: str) -> str:
        """Return a text in one line, with a mark for what no font has a picture of."""
        plain = " ".join(unicodedata.normalize("NFC", text).split())
        fonts = [self.fonts[name] for name in self._families if name in self.fonts]
        known = {each for each in plain if any(ord(each) in font.cmap for font in fonts)}  # type: ignore[union-attr]
        if not known.issuperset(plain):
            _tell_once()
        return "".join(each if each in known else _UNKNOWN for each in plain)

    def heading(self, left: str, right: str) -> None:
        """Write what the document is, and who issues it."""
        self._write_font(20, style="B")
        top = self.get_y()
        self.cell(w=self.epw * 0.5, h=10, text=left)
        self._write_font(12, style="B")
        self.set_xy(self.l_margin + self.epw * 0.5, top)
        self.multi_cell(
            w=self.epw * 0.5,
            h=6,
            text=self.known(right),
            align=Align.R,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        self.set_y(max(self.get_y(), top + 10) + 6)

    def beside(self, left: Sequence[str], right: Sequence[Sides]) -> None:
        """Write lines on the left and, beside them, names with their values."""
        top = self.get_y()
        for number, line in enumerate(left):
            self._write_font(_SIZE_PT, colour=_INK if number else _GREY)
            self._below(self.epw * 0.52, line)
        end, half = self.get_y(), self.l_margin + self.epw * 0.55
        self.set_y(top)
        for name, value in right:
            self.set_x(half)
            self._write_font(_SIZE_PT, colour=_GREY)
            self.cell(w=self.epw * 0.17, h=_LINE_MM, text=name)
            self._write_font(_SIZE_PT)
            self.multi_cell(
                w=self.epw * 0.28,
                h=_LINE_MM,
                text=self.known(value),
                align=Align.R,
                new_x=XPos.LMARGIN,
                new_y=YPos.NEXT,
            )
        self.set_y(max(self.get_y(), end) + 8)

    def columns(
        self, names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
    ) -> None:
        """Write a table whose first column is text and whose others are figures.

        It breaks over pages between its rows, and says its columns' names on each.
        """
        self._write_font(_SIZE_PT - 0.5)
        self.set_draw_color(*_RULE)
        with self.table(
            col_widths=tuple(widths),
            text_align=(Align.L, *(Align.R for _ in names[1:])),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="BOLD", fill_color=_SHADE),
            line_height=_LINE_MM,
            padding=(1.2, 1.5),
        ) as table:
            for texts in (names, *rows):
                row = table.row()
                for text in texts:
                    row.cell(self.known(text))
        self.ln(4)

    def sums(self, rows: Sequence[Sides], total: Sides) -> None:
        """Write names and amounts at the right, with the total below; all on one page."""
        if self.will_page_break((len(rows) + 1) * _SUM_MM):
            self.add_page()
        for name, value in rows:
            self._sum(name, value)
        self._sum(*total, style="B")
        self.ln(4)

    def paragraph(self, text: str) -> None:
        """Write lines of text over the whole width."""
        self._write_font(_SIZE_PT)
        for line in text.splitlines():
            self._below(self.epw, line)
        self.ln(2)

    def _sum(self, name: str, value: str, *, style: str = "") -> None:
        self._write_font(_SIZE_PT + (1.5 if style else 0), style=style)
        self.set_x(self.l_margin + self.epw * 0.3)
        self.cell(w=self.epw * 0.45, h=_SUM_MM, text=self.known(name), align=Align.R)
        self.cell(
            w=self.epw * 0.25,
            h=_SUM_MM,
            text=self.known(value),
            align=Align.R,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )

    def _below(self, width: float, text: str) -> None:
        self.multi_cell(
            w=width,
            h=_LINE_MM,
            text=self.known(text),
            align=Align.L,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )

    def _write_font(
        self, size_pt: float, *, style: str = "", colour: tuple[int, int, int] = _INK
    ) -> None:
        self.set_font(FAMILY, style, size_pt)
        self.set_text_color(*colour)


@cache
def _tell_once() -> None:
    """Say in the log that documents lack letters; not which, as they are of somebody's name."""
    log.warning(
        "a document has '?' for letters that its fonts lack: name a font in PDF_FALLBACK_FONT"
    )


@contextmanager
def page(
    *, identity: UUID, made_at: datetime, title: str, language: str, fallback: str = ""
) -> Iterator[Page]:
    """Give a document to write on; its fonts are there until the end of the block.

    The library reads fonts from files, also when it writes the document out.

    Args:
        fallback: the file of a font for what ours has no picture of.
    """
    with TemporaryDirectory(prefix="paybeat-") as folder:
        made = Page(identity=identity, made_at=made_at, title=title, language=language)
        for style, name in _FILES.items():
            file = Path(folder) / f"{name}.ttf"
            file.write_bytes(fontbuffers[name]())
            made.add_font(FAMILY, style, file)
        if fallback:
            for style in _FILES:
                made.add_font(_FALLBACK, style, fallback)
            made.set_fallback_fonts([_FALLBACK])
        made.set_text_shaping(use_shaping_engine=True)
        yield made
