"""A table as LaTeX; needs the packages booktabs, longtable, array and siunitx.

Written here and not by pandas' Styler: a row has two lines, with the interval below its estimate,
and columns that do not fit the page go to a further table below, so that nothing is shrunk or cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.reporting.cells import Footnotes, Note
from bench.reporting.narrow import Line, Strip, strips
from bench.reporting.sections import Section, Table

_PAGE_PT = 440.0
"""Width that a table may fill: the text of A4 with margins of 2.5 cm has 455 pt."""

_NARROWEST_PT = 200

_SIGN_PT = 4.0
"""Width of a sign at 8 pt: of a digit of Computer Modern 4.25, of a dot or a bracket 2.4."""

_GAP_PT = 8.0
_WORDS_PT = 110.0
"""Columns of words that would be wider are wrapped."""

_ROW_GAP = "[4pt]"
_TOGETHER = 15
"""Most rows that are kept on one page."""

_TURNED = 3
"""Most rows that stand side by side, each as a column, where columns are set as lines."""

_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "<": "$<$",
        ">": "$>$",
        "\N{MINUS SIGN}": "$-$",
        "→": r"$\to$",
        "∞": r"$\infty$",
        "—": "---",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "\n": " ",
    }
)
_UNSET = re.compile(r"[^\x20-\x7e\u00a0-\u017f\u2013\u2014\u2018-\u201e\u2026]")

_PREFIXES = {"n": r"\nano", "µ": r"\micro", "m": r"\milli", "": ""}
_PREFIXES |= {"k": r"\kilo", "M": r"\mega", "G": r"\giga", "T": r"\tera", "P": r"\peta"}
_UNITS = {"J": r"\joule", "s": r"\second", "B": r"\byte", "W": r"\watt"}
_NUMBER = re.compile(
    r"(?P<number>[-+\N{MINUS SIGN}]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?)"
    rf"(?: (?P<prefix>[{''.join(_PREFIXES)}]?)(?P<unit>[{''.join(_UNITS)}])\b)?"
)


def latex(table: Table) -> str:
    """Return each section as one or more ``longtable`` with a caption and a label of its own."""
    labels: set[str] = set()
    blocks = [f"% {table.origin}", r"\begingroup\footnotesize\setlength{\tabcolsep}{4pt}%"]
    blocks[-1] += "\n" + r"\sisetup{retain-explicit-plus}\setlength{\LTcapwidth}{\linewidth}"
    for section in table.sections:
        blocks.append(_section(table, section, labels))
    if table.notes:
        blocks.append("\n".join(_small(_texts(table.notes))))
    return "\n\n".join([*blocks, r"\endgroup"]) + "\n"


def escape(text: str) -> str:
    """Return text in which nothing is a command to LaTeX, and which pdflatex can set.

    Signs that its fonts lack, Greek say, are given by their code.
    """
    return _UNSET.sub(lambda sign: f"[U+{ord(sign[0]):04X}]", text.translate(_SPECIAL))


def figures(text: str) -> str:
    r"""Return text whose numbers siunitx sets: ``171 kJ`` as ``\qty{171}{\kilo\joule}``."""
    parts, end = [], 0
    for found in _NUMBER.finditer(text):
        parts.append(escape(text[end : found.start()]))
        number = found["number"].replace("\N{MINUS SIGN}", "-").replace(",", "")
        if found["unit"]:
            unit = _PREFIXES[found["prefix"]] + _UNITS[found["unit"]]
            parts.append(rf"\qty{{{number}}}{{{unit}}}")
        else:
            parts.append(rf"\num{{{number}}}")
        end = found.end()
    return "".join([*parts, escape(text[end:])])


@dataclass(frozen=True, slots=True)
class _Panel:
    """One ``longtable``: as many columns as fit the page.

    Attributes:
        columns: LaTeX's description of them.
        head: Lines between the upper rules.
        body: Lines below; one that must not end a page ends in a star.
    """

    columns: str
    head: tuple[str, ...]
    body: tuple[str, ...]


def _section(table: Table, section: Section, labels: set[str]) -> str:
    footnotes = Footnotes()
    shown = strips(section.columns, section.cells, footnotes)
    panels = _turned(shown) if table.turned else map(_panel, _fitting(shown))
    caption = escape(": ".join(filter(None, (table.caption, section.title))))
    label = _label(table.name, section.title, labels)
    lines: list[str] = []
    for number, panel in enumerate(panels):
        if number:  # it belongs to the table before it
            lines += [r"\addtocounter{table}{-1}\vspace{-\LTpost}"]
        lines += [rf"\begin{{longtable}}{{@{{}}{panel.columns}@{{}}}}"]
        lines += [] if number else [rf"\caption{{{caption}.}}\label{{{label}}}\\"]
        head = [r"\toprule", *panel.head, r"\midrule"]
        lines += [*head, r"\endfirsthead", *head, r"\endhead", r"\bottomrule", r"\endfoot"]
        lines += [*panel.body, r"\end{longtable}"]
    return "\n".join([*lines, *_small([*_marked(footnotes), *_texts(section.notes)])])


def _fitting(shown: Sequence[Strip]) -> list[list[Strip]]:
    """Return as few groups of columns as fit the page, of about the same width."""
    panels = _broken(shown, _PAGE_PT)
    for limit_pt in range(_NARROWEST_PT, int(_PAGE_PT), 10):
        if len(balanced := _broken(shown, limit_pt)) == len(panels):
            return balanced
    return panels


def _broken(shown: Sequence[Strip], limit_pt: float) -> list[list[Strip]]:
    """Return groups of columns up to a width, the first column at the head of each."""
    first, *rest = shown
    panels, width = [[first]], _width(first)
    for strip in rest:
        width += _GAP_PT + _width(strip)
        if width > limit_pt and len(panels[-1]) > 1:
            panels.append([first])
            width = _width(first) + _GAP_PT + _width(strip)
        panels[-1].append(strip)
    return panels


def _width(strip: Strip) -> float:
    texts = [*strip.head, *(line.text for lines in strip.cells for line in lines)]
    marks = any(line.mark for lines in strip.cells for line in lines)
    natural = _SIGN_PT * (max(map(len, texts)) + marks)
    return min(natural, _WORDS_PT) if strip.words else natural


def _panel(shown: Sequence[Strip]) -> _Panel:
    heads = [[escape(strip.head[line]) for strip in shown] for line in (0, 1)]
    body = [
        [_line(strip.cells[row][line], strip.words) for strip in shown]
        for row in range(len(shown[0].cells))
        for line in (0, 1)
    ]
    widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
    # No page ends between the two lines of a row; the gap belongs to the row above it.
    kept = "*" if len(body) <= 2 * _TOGETHER else ""
    ends = ["*" if index % 2 == 0 else kept + _ROW_GAP for index in range(len(body) - 1)]
    lines = [_row(cells, widths, shown) + end for cells, end in zip(body, [*ends, ""], strict=True)]
    columns = "".join(_paragraph(_WORDS_PT) if _wrapped(s) else "rl"[s.words] for s in shown)
    return _Panel(columns, tuple(_row(cells, widths, shown) for cells in heads), tuple(lines))


def _turned(shown: Sequence[Strip]) -> Iterator[_Panel]:
    """Yield rows as columns and columns as lines, the first of which is the heading."""
    rows = len(shown[0].cells)
    names = max(_SIGN_PT * len(strip.head[0]) for strip in shown)
    for start in range(0, rows, _TURNED):
        chosen = range(start, min(start + _TURNED, rows))
        width = (_PAGE_PT - names) / len(chosen) - _GAP_PT
        lines = [
            " & ".join([escape(strip.head[0]), *(_line(strip.cells[r][0], True) for r in chosen)])
            + r" \\"
            for strip in shown
        ]
        yield _Panel("l" + len(chosen) * _paragraph(width), tuple(lines[:1]), tuple(lines[1:]))


def _paragraph(width_pt: float) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{width_pt:.0f}pt}}"


def _wrapped(strip: Strip) -> bool:
    return strip.words and _width(strip) >= _WORDS_PT


def _row(cells: Sequence[str], widths: Sequence[int], shown: Sequence[Strip]) -> str:
    padded = [
        cell.ljust(width) if strip.words else cell.rjust(width)
        for cell, width, strip in zip(cells, widths, shown, strict=True)
    ]
    # After the end of a row LaTeX takes [ for a length and * for a command.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(padded) + r" \\"


def _line(line: Line, words: bool) -> str:
    mark = "" if line.mark is None else rf"\textsuperscript{{{line.mark}}}"
    return (escape(line.text) if words else figures(line.text)) + mark


def _marked(footnotes: Footnotes) -> list[str]:
    return [
        rf"\textsuperscript{{{number}}}~{escape(text)}"
        for number, text in enumerate(footnotes.texts, 1)
    ]


def _texts(notes: Sequence[Note]) -> list[str]:
    loud = {True: r"\textbf{Warning:} ", False: ""}
    return [loud[note.loud] + escape(note.text) for note in notes]


def _small(texts: Sequence[str]) -> list[str]:
    return [r"{\raggedright\scriptsize", *(rf"{text}\par" for text in texts), "}"] if texts else []


def _label(name: str, title: str, taken: set[str]) -> str:
    stem = "tab:" + re.sub(r"[^a-z0-9]+", "-", f"{name} {title}".lower()).strip("-")
    label, number = stem, 1
    while label in taken:
        number += 1
        label = f"{stem}-{number}"
    taken.add(label)
    return label
