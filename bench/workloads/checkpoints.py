"""Published models and tokenizers of transformers: where they lie, and whether they fit."""

from __future__ import annotations

import importlib.util
import re
import string
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from tokenizers.models import BPE
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer, PreTrainedModel
from transformers.utils import logging

from bench.workloads import WorkloadError, first_line

PACKAGED = "package:"
"""Prefix of a model that lies inside an installed Python package."""

logging.set_verbosity_error()  # it warns of every head that is yet to be trained
logging.disable_progress_bar()


def located(model: str, key: str) -> str:
    """Return what transformers loads: a hub id, or the path of a folder.

    Raises:
        WorkloadError: A package that is not installed, or a path without a model.
    """
    if model.startswith(PACKAGED):
        package, _, inside = model.removeprefix(PACKAGED).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise WorkloadError(
                f"{key}={model}: the package {package} is not installed: "
                f"pip install {package.replace('_', '-')}"
            )
        return str(Path(spec.origin).parent / inside)
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path)
    if looks_local:
        raise WorkloadError(f"{key}={model}: there is no such folder; a hub id is name or org/name")
    return model


@lru_cache(maxsize=4)
def tokenizer(name: str) -> Any:
    """Return the tokenizer of a model, or of a folder that holds nothing but its vocabulary.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    place = located(name, "workload.vocabulary")
    try:
        found = _bare(Path(place))
        if found is None:
            found = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as err:  # the library behind raises nothing more special for a broken file
        raise WorkloadError(
            f"the tokenizer of {name} cannot be loaded: {first_line(err)} "
            f"workload.vocabulary takes a local folder with tokenizer.json, with vocab.txt, or "
            f"with vocab.json and merges.txt"
        ) from err
    return found


def _bare(folder: Path) -> Any:
    """Return WordPiece of ``vocab.txt``, or GPT-2's BPE of ``vocab.json`` and ``merges.txt``."""
    if (folder / "config.json").is_file():
        return None
    words, table, merges = (folder / name for name in ("vocab.txt", "vocab.json", "merges.txt"))
    if words.is_file():
        return _word_pieces(words.read_text(encoding="utf-8").splitlines())
    if table.is_file() and merges.is_file() and not (folder / "tokenizer.json").is_file():
        vocabulary, pairs = BPE.read_file(str(table), str(merges))
        return GPT2Tokenizer(vocab=vocabulary, merges=cast("Any", pairs))
    return None


def of_words(texts: Iterable[str]) -> BertTokenizer:
    """Return a tokenizer of all words in some texts; other words fall into letters.

    The library's trainer breaks ties otherwise in every process; a list in order of the alphabet
    is the same everywhere.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for text in texts for word in text.split()})
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    return _word_pieces(dict.fromkeys([*special, *letters, *words]))


def _word_pieces(pieces: Iterable[str]) -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})


def require_fit(model: PreTrainedModel, words: Any, positions: int, said: str) -> None:
    """Refuse a model that has fewer embeddings than the tokenizer has tokens, or is too short.

    Args:
        model: It.
        words: The tokenizer.
        positions: Tokens that one example may have.
        said: The keys that ask for so many, with their values.

    Raises:
        WorkloadError: Naming both.
    """
    config = model.config
    if config.vocab_size < len(words):
        raise WorkloadError(
            f"the tokenizer has {len(words):,} tokens and the model {config.vocab_size:,} "
            f"embeddings: workload.vocabulary must be the one that the model was trained with"
        )
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and most < positions:
        raise WorkloadError(f"{said}: the model has {most} positions")


def shape_named(name: str) -> tuple[int, int | None] | None:
    """Return layers and width of ``4L-312``, or of ``3L`` without a width; else ``None``."""
    found = re.fullmatch(r"(\d+)L(?:-(\d+))?", name)
    return None if found is None else (int(found[1]), int(found[2]) if found[2] else None)


def evenly(layers: int, there: int) -> list[int]:
    """Return numbers of layers taken evenly from those that are there, the last among them.

    Of six to three those numbered 1, 3, 5 from 0, as in DistilBERT (Sanh et al. 2019,
    arXiv:1910.01108, section 3).
    """
    return [(i + 1) * there // layers - 1 for i in range(layers)]
