"""Texts to be spoken: a list, or a user's file; cut into pieces, as numbers of letters, with noise.

A line that cannot be spoken is named, and so are the letters that a voice does not know.
"""

from __future__ import annotations

import hashlib
import logging
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils.import_utils import is_uroman_available

from bench.workloads import Batch, WorkloadError, files, first_line
from bench.workloads.speech.voice import NOISE_FRAMES

log = logging.getLogger(__name__)

_NAMED = 5
_FEWEST = 2
"""Texts without which there is no interval over texts."""


@dataclass(frozen=True)
class Piece:
    """What is spoken at once.

    Attributes:
        where: File and line, or place in the list.
        text: As it was given.
        letters: Numbers, with a blank before and after each.
        unknown: Letters, digits and marks of it that the voice does not know, and leaves out.
    """

    where: str
    text: str
    letters: tuple[int, ...]
    unknown: str


def given(texts: Sequence[str], root: str | None, column: str) -> list[tuple[str, str]]:
    """Return texts, each with the words by which it is named.

    Args:
        texts: Taken where there is no ``root``.
        root: A file of texts: one a line, or with a column of that name.
        column: Of tables and objects.

    Raises:
        WorkloadError: The file cannot be read, or a row of it not used.
    """
    if root is None:
        return [(f"workload.texts[{number}]", text) for number, text in enumerate(texts)]
    file = Path(root).expanduser()
    if not file.is_file():
        raise WorkloadError(
            f"data.root={root} is no file: give one of texts "
            f"({', '.join(f'.{kind}' for kind in files.KINDS)}), or null for workload.texts"
        )
    counted = "row" if file.suffix.lower() == ".parquet" else "line"
    rows = files.numbered(file, (column,))
    return [(f"{file}, {counted} {number}", text) for number, (text,) in rows]


def require_texts(texts: object) -> None:
    """Refuse a list that is none, or holds what is no text: YAML takes 1984 for a number.

    Raises:
        ValueError: Naming the text.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise ValueError(
            f"workload.texts is {texts!r}: a list of texts; data.root=FILE takes a file"
        )
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"workload.texts[{number}] is {text!r}, no text: put it in quotes")


def pieces(
    texts: Sequence[tuple[str, str]], longest: int, words: Any, most_letters: int
) -> list[Piece]:
    """Return texts as pieces of at most so many characters; those that are blank are left out.

    Args:
        texts: With their names.
        longest: Characters; a longer text is cut at a space, or where there is none.
        words: The tokenizer.
        most_letters: That the model has embeddings for.

    Raises:
        WorkloadError: A text has nothing that can be spoken, or there are fewer than two.
    """
    if getattr(words, "is_uroman", False) and not is_uroman_available():
        raise WorkloadError(
            "workload.model reads another script in Latin letters: pip install uroman"
        )
    found = [
        _piece(where, part, words, most_letters)
        for where, text in texts
        for part in textwrap.wrap(text, longest, break_on_hyphens=False)
    ]
    if len(found) < _FEWEST:
        raise WorkloadError(
            f"{len(found)} texts that are not blank, out of {len(texts)}: at least {_FEWEST} are "
            f"due, or nothing can be said of how they differ; workload.texts or data.root=FILE"
        )
    return found


def _piece(where: str, text: str, words: Any, most_letters: int) -> Piece:
    try:
        letters = words(text)["input_ids"]
    except Exception as err:  # of phonemizers, which are programs of their own
        raise WorkloadError(f"{where}: cannot be read: {first_line(err)}") from err
    unknown = _unknown(text, words)
    if len(letters) < 2:  # a blank, or not even that
        raise WorkloadError(
            f"{where}: the voice knows no letter of {text[:40]!r}; mend or remove the text, or "
            f"take a voice of its language with workload.model"
        )
    if (last := max(letters)) >= most_letters:
        raise WorkloadError(
            f"{where}: {text[:40]!r} has letter {last}, and workload.model embeds {most_letters}: "
            f"its vocab.json is another model's"
        )
    return Piece(where, text, tuple(letters), unknown)


def _unknown(text: str, words: Any) -> str:
    """Return letters, digits and marks, such as vowels of Hindi, that are left out.

    Punctuation is missing in most alphabets and says little. Of a script that is first written in
    Latin letters, or in phonemes, no letter can be told that got lost on the way.
    """
    if words.phonemize or words.is_uroman:
        return ""
    known = words.encoder
    gone = {c for c in text if c not in known and c.lower() not in known}
    return "".join(sorted(c for c in gone if unicodedata.category(c)[0] in "LMN"))


@cache
def tell(lacking: tuple[Piece, ...]) -> None:
    """Name pieces that are spoken without some letters: once, however often they are asked for."""
    for piece in lacking[:_NAMED]:
        log.warning("%s: spoken without %s", piece.where, piece.unknown)
    if len(lacking) > _NAMED:
        log.warning("%d more texts have unknown letters", len(lacking) - _NAMED)


@dataclass(frozen=True)
class Spoken:
    """Pieces as batches, each with noise of its own that depends on nothing but text and seed.

    Attributes:
        pieces: What is spoken.
        seed: Of the noise.
        channels: Of a frame of noise.
        speaker: Number of the voice; ``None`` for a model of one.
    """

    pieces: Sequence[Piece]
    seed: int
    channels: int
    speaker: int | None

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.pieces)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return pieces as a batch, padded to the longest.

        Labels are 0: how far the baseline's speech lies from itself.
        """
        chosen = [self.pieces[index] for index in indices]
        rows = [torch.tensor(piece.letters) for piece in chosen]
        noise = [self._noise(piece) for piece in chosen]
        batch = {
            "letters": pad_sequence(rows, batch_first=True),
            "mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "letter_noise": pad_sequence([of_letters for of_letters, _ in noise], batch_first=True),
            "frame_noise": torch.stack([of_frames for _, of_frames in noise]),
            "labels": torch.zeros(len(chosen)),
        }
        if self.speaker is not None:
            batch["speaker"] = torch.full((len(chosen),), self.speaker)
        return batch

    def _noise(self, piece: Piece) -> tuple[Tensor, Tensor]:
        name = f"{self.seed}\n{piece.text}".encode()
        seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1  # torch's are signed
        generator = torch.Generator().manual_seed(seed)
        return (
            torch.randn(len(piece.letters), 2, generator=generator),
            torch.randn(NOISE_FRAMES, self.channels, generator=generator),
        )
