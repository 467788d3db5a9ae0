"""Text that is generated: sentences and lists without any markup, and the forms it is set in.

Whatever a record says may stand in them (a label with a dollar sign, a host with an underscore), so
markup is added here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.reporting.cells import amount
from bench.reporting.formats import MARKDOWN
from bench.reporting.latex import escape
from bench.reporting.references import REFERENCES

NBSP = "\N{NO-BREAK SPACE}"
_LIST = r"\begin{itemize}\setlength{\itemsep}{0pt}\setlength{\parskip}{0pt}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence.

    Attributes:
        text: Without its full stop.
        sources: Keys of ``references.REFERENCES`` that stand behind it.
    """

    text: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences, and the list that the last of them announces, if there is one."""

    sentences: tuple[Sentence, ...]
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Paragraphs under a title."""

    title: str
    paragraphs: tuple[Paragraph, ...]


def paragraph(*sentences: Sentence | str | None, items: Sequence[str] = ()) -> Paragraph:
    """Return a paragraph of those sentences that are there."""
    said = [Sentence(s) if isinstance(s, str) else s for s in sentences if s is not None]
    return Paragraph(tuple(said), tuple(items))


def section(title: str, *paragraphs: Paragraph) -> Section | None:
    """Return a section of the paragraphs that say something; ``None`` if none does."""
    said = tuple(p for p in paragraphs if p.sentences)
    return Section(title, said) if said else None


def listed(words: Iterable[str], last: str = "and") -> str:
    """Return words in the order given as ``a``, ``a and b`` or ``a, b and c``, each once."""
    *head, tail = dict.fromkeys(words)
    return f"{', '.join(head)} {last} {tail}" if head else tail


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 block``, ``2 blocks``, ``12,000 examples``."""
    return f"{number:,}{NBSP}{noun if number == 1 else plural or noun + 's'}"


def spanned(numbers: Iterable[int]) -> str:
    """Return ``8``, or ``8 to 24``: the least and the greatest."""
    found = sorted(numbers)
    ends = f"{found[0]:,}", f"{found[-1]:,}"
    return ends[0] if found[0] == found[-1] else f"{ends[0]} to {ends[1]}"


def quantity(value: float, unit: str) -> str:
    """Return a figure of a configuration as it stands there, with its unit: ``0.1 s``."""
    return f"{value:g}{NBSP}{unit}"


def percentage(fraction: float) -> str:
    """Return a limit that is a fraction as percent, unrounded: 0.015 is ``1.5 %``."""
    return f"{round(100 * fraction, 10):g}{NBSP}%"


def metric_amount(value: float, unit: str) -> str:
    """Return three digits with a metric prefix and the unit: ``33.6 GB``."""
    return amount(value, unit).replace(" ", NBSP)


def plain(said: Paragraph) -> str:
    """Return a paragraph's sentences, sources in brackets: ``... (Student, 1908).``."""
    return " ".join(_plain(sentence) + end for sentence, end in ended(said))


def ended(said: Paragraph) -> list[tuple[Sentence, str]]:
    """Return a paragraph's sentences, each with what ends it: a colon before a list."""
    last = ":" if said.items else "."
    return [*((s, ".") for s in said.sentences[:-1]), (said.sentences[-1], last)]


def _plain(sentence: Sentence) -> str:
    named = "; ".join(REFERENCES[key].short for key in sentence.sources)
    return f"{sentence.text} ({named})" if named else sentence.text


def cited(sections: Iterable[Section]) -> tuple[str, ...]:
    """Return the sources of all sentences in full, each once, in alphabetical order."""
    keys = {k for s in sections for p in s.paragraphs for said in p.sentences for k in said.sources}
    return tuple(sorted(REFERENCES[key].full for key in keys))


def latex(sections: Iterable[Section], first_line: str) -> str:
    """Return subsections for a paper to input; sources are cited by their keys."""
    blocks = [f"% {first_line}"]
    for part in sections:
        blocks.append(rf"\subsection{{{escape(part.title)}}}")
        for said in part.paragraphs:
            text = " ".join(
                escape(sentence.text) + _cite(sentence) + end for sentence, end in ended(said)
            )
            items = [rf"  \item {_guarded(escape(item))}" for item in said.items]
            blocks.append(text)
            if items:
                blocks.append("\n".join([_LIST, *items, r"\end{itemize}"]))
    return "\n\n".join(blocks) + "\n"


def markdown(sections: Iterable[Section], first_line: str) -> str:
    """Return sections of the second level, and the sources in full at the end."""
    found = tuple(sections)
    blocks = [f"<!-- {first_line} -->"]
    for part in found:
        blocks.append(f"## {part.title.translate(MARKDOWN)}")
        for said in part.paragraphs:
            blocks.append(plain(said).translate(MARKDOWN))
            if said.items:
                blocks.append("\n".join(f"- {item.translate(MARKDOWN)}" for item in said.items))
    if sources := cited(found):
        blocks += ["## Sources", "\n".join(f"- {source}" for source in sources)]
    return "\n\n".join(blocks) + "\n"


def _cite(sentence: Sentence) -> str:
    return rf"~\cite{{{','.join(sentence.sources)}}}" if sentence.sources else ""


def _guarded(item: str) -> str:
    # What stands in brackets at the start of an item would become its label.
    return f"{{}}{item}" if item.startswith("[") else item
