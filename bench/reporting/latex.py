"""The table as LaTeX, one float per section; needs the packages booktabs and graphicx.

Written here and not by pandas' Styler: a row has two lines, with the interval below its estimate,
so that the table fits a page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.reporting.cells import Footnotes
from bench.reporting.narrow import Line, Strip, strips
from bench.reporting.pairs import readable_columns
from bench.reporting.sections import Section, Table

_LAST_RANK = 4
"""Columns that give way sooner are left to Markdown and CSV."""

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


def latex(table: Table, command: str) -> str:
    """Return the columns that fit a page, each section as a ``table`` with caption and label."""
    labels: set[str] = set()
    blocks = [f"% {command}: {table.origin}"]
    blocks += [_float(section, labels) for section in table.sections]
    if table.notes:
        blocks.append("\n".join(_small(_texts(table))))
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return text in which nothing is a command to LaTeX, and which pdflatex can set.

    Signs that its fonts lack, Greek say, are given by their code.
    """
    return _UNSET.sub(lambda sign: f"[U+{ord(sign[0]):04X}]", text.translate(_SPECIAL))


def _float(section: Section, labels: set[str]) -> str:
    columns = [c for c in readable_columns(section.records) if c.rank <= _LAST_RANK]
    footnotes = Footnotes()
    shown = strips(section.records, columns, footnotes)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{escape(section.title)}.}}",
        rf"\label{{{_label(section, labels)}}}",
        # Shrunk where it is wider than the text, never blown up.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        *_tabular(shown),
        "}",
        *_small([*_marked(footnotes), *_texts(section)]),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _tabular(shown: Sequence[Strip]) -> list[str]:
    heads = [[escape(strip.head[line]) for strip in shown] for line in (0, 1)]
    body = [
        [_line(strip.cells[row][line]) for strip in shown]
        for row in range(len(shown[0].cells))
        for line in (0, 1)
    ]
    widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
    spec = "".join("l" if strip.words else "r" for strip in shown)
    lines = [rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}", r"\toprule"]
    lines += [_row(cells, widths, shown) for cells in heads]
    lines.append(r"\midrule")
    for index, cells in enumerate(body):
        if index and index % 2 == 0:
            lines.append(r"\addlinespace")
        lines.append(_row(cells, widths, shown))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _row(cells: Sequence[str], widths: Sequence[int], shown: Sequence[Strip]) -> str:
    padded = [
        cell.ljust(width) if strip.words else cell.rjust(width)
        for cell, width, strip in zip(cells, widths, shown, strict=True)
    ]
    # After the end of a row LaTeX takes [ for a length and * for a command.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(padded) + r" \\"


def _line(line: Line) -> str:
    mark = "" if line.mark is None else rf"\textsuperscript{{{line.mark}}}"
    return escape(line.text) + mark


def _marked(footnotes: Footnotes) -> list[str]:
    return [
        rf"\textsuperscript{{{number}}}~{escape(text)}"
        for number, text in enumerate(footnotes.texts, 1)
    ]


def _texts(noted: Section | Table) -> list[str]:
    loud = {True: r"\textbf{Warning:} ", False: ""}
    return [loud[note.loud] + escape(note.text) for note in noted.notes]


def _small(texts: Sequence[str]) -> list[str]:
    return [r"\par\smallskip{\raggedright\scriptsize", *(rf"{text}\par" for text in texts), "}"]


def _label(section: Section, taken: set[str]) -> str:
    words = f"{section.workload} {section.host} {section.protocol} {section.runtime}"
    stem = "tab:pairs-" + re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    label, number = stem, 1
    while label in taken:
        number += 1
        label = f"{stem}-{number}"
    taken.add(label)
    return label
