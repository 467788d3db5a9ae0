"""The comparison as one HTML file that needs no server, no network and no script.

Tables are those of the report, pictures its figures as SVG inside the file. Every text is escaped,
and the file itself tells the browser to fetch nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape

from bench.reporting import figures, specs
from bench.reporting.cells import Footnotes, Note
from bench.reporting.formats import superscript
from bench.reporting.narrow import Line, strips
from bench.reporting.sections import Section, Table, assemble
from bench.reporting.selection import Records
from bench.reporting.tables import MOST_ROWS, PAIRS
from bench.reporting.typeset import CAPTIONS

TITLE = "joulebench: joules saved and accuracy paid"

_RULES = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: auto; padding: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #8886; vertical-align: top; }
td, th { text-align: end; }
td.words, th.words { text-align: start; }
td small, .notes { opacity: .75; }
.loud { font-weight: bold; }
figure { margin: 1rem 0; background: #fff; color: #000; padding: .5rem; border-radius: .5rem; }
figure img { max-width: 100%; height: auto; }
"""


def page(records: Records) -> str:
    """Return the page of records of which at least one enters a report.

    Raises:
        TableError: A table would pool or show what must not stand together.
    """
    readable = [s for s in specs.load_all() if s.name != PAIRS or len(records.pairs) <= MOST_ROWS]
    tables = [assemble(records, spec) for spec in readable]
    drawn = figures.vector(records.rows(), records.pairs, records.results)
    parts = [
        f"<h1>{escape(TITLE)}</h1>",
        f"<p>{escape(records.origin)}</p>",
        *(part for table in tables if table.sections for part in _table(table)),
        "<h2>Figures</h2>",
        *(_figure(name, sheet) for name, sheets in drawn.sheets.items() for sheet in sheets),
        _notes([Note(f"{name}: {why}") for name, why in drawn.left_out.items()]),
    ]
    body = "\n".join(parts)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_RULES}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><title>{escape(TITLE)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<main>\n{body}\n</main>\n</body></html>\n"
    )


def _table(table: Table) -> Iterator[str]:
    yield f"<h2>{escape(table.caption)}</h2>"
    for section in table.sections:
        if section.title:
            yield f"<h3>{escape(section.title)}</h3>"
        footnotes = Footnotes()
        yield _section(section, footnotes, table.turned)
        under = [Note(f"{superscript(n)} {text}") for n, text in enumerate(footnotes.texts, 1)]
        yield _notes([*under, *section.notes])
    yield _notes(table.notes)


def _section(section: Section, footnotes: Footnotes, turned: bool) -> str:
    """Return rows of two lines, as the terminal has them; turned, columns become lines."""
    found = strips(section.columns, section.cells[:MOST_ROWS], footnotes)
    heads = [("th", strip.words, [Line(text) for text in strip.head]) for strip in found]
    lines = [heads] + [
        [("td", strip.words, list(strip.cells[row])) for strip in found]
        for row in range(len(section.cells[:MOST_ROWS]))
    ]
    if turned:
        lines = [[(tag, True, cell) for tag, _, cell in row] for row in zip(*lines, strict=True)]
    rows = "\n".join(f"<tr>{''.join(_cell(*cell) for cell in row)}</tr>" for row in lines)
    return f'<div class="wide"><table>\n{rows}\n</table></div>'


def _cell(tag: str, words: bool, lines: Sequence[Line]) -> str:
    first, *rest = [escape(line.text) + superscript(line.mark) for line in lines]
    below = "".join(f"<br><small>{text}</small>" for text in rest if text)
    return f"<{tag}{' class=words' if words else ''}>{first}{below}</{tag}>"


def _figure(name: str, drawing: str) -> str:
    """Return a drawing as a picture: what is in it cannot reach the page, nor the network."""
    caption = escape(CAPTIONS.get(name, name))
    data = base64.b64encode(drawing.encode()).decode()
    return (
        f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{caption}.</figcaption></figure>"
    )


def _notes(notes: Sequence[Note]) -> str:
    if not notes:
        return ""
    items = "".join(
        f"<li{' class=loud' if note.loud else ''}>{escape(note.text)}</li>" for note in notes
    )
    return f'<ul class="notes">{items}</ul>'
