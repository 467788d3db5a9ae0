"""Text to speech: VITS in any language that there is a voice of, or with fresh weights.

An item is a second of audio. Speech has no labels: quality is being like what the baseline says of
the same text with the same noise.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import VitsConfig

from bench.digests import labels_sha256
from bench.workloads import Batch, Examples, Workload, WorkloadError
from bench.workloads.speech import lines, sound, voice
from bench.workloads.speech.voice import END, Voice

SEMITONES = 12
"""Most by which a voice is shifted; beyond an octave nothing like speech is left."""


@dataclass(frozen=True)
class Speech(Workload):
    """A VITS of transformers that speaks a list of texts.

    Attributes:
        model: Hub id, local folder, or ``package:<name>/<folder>`` inside an installed package.
        pretrained: Take the model's weights; else an architecture with random ones, whose joules
            are valid and whose speech is noise.
        architecture: transformers' configuration of VITS, built where ``pretrained`` is false; what
            is not said is MMS-TTS's.
        alphabet: Letters of it, the space among them.
        texts: What is spoken, where ``data_root`` names no file of texts.
        columns: What ``text`` is called in a user's CSV, TSV, JSON, JSON lines or Parquet; ``None``
            if it is called that.
        longest: Characters that are spoken at once; longer texts are cut at a space, and each piece
            counts as a text. Attention grows with the square.
        speaker: Number of the voice, in models that have several; else ``None``.
        speaking_rate: 2 speaks in half the time.
        pitch_semitones: By which the voice is raised after it has spoken, its duration kept.
        seed: Of what VITS draws, the same for both arms and in whatever batch.
        frames: To which speech is padded, with ``runtime=compile``: compiled decoders are compiled
            for one shape, and both arms decode all of it. ``None`` pads to the longest of each
            batch.
        default_student: The smaller model of ``technique=small_model``: see ``student``.
    """

    model: str
    pretrained: bool
    architecture: Mapping[str, Any]
    alphabet: str
    texts: Sequence[str]
    columns: Mapping[str, str] | None
    longest: int
    speaker: int | None
    speaking_rate: float
    pitch_semitones: float
    seed: int
    frames: int | None
    default_student: str

    untrainable: ClassVar[str] = "transformers has no training of VITS"
    item: ClassVar[str] = "second of audio"
    most_margin: ClassVar[float] = 20.0  # dB

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if not 0.25 <= self.speaking_rate <= 4:
            raise ValueError(
                f"workload.speaking_rate is {self.speaking_rate}: from 0.25, which takes four "
                f"times as long, to 4"
            )
        if abs(self.pitch_semitones) > SEMITONES:
            raise ValueError(
                f"workload.pitch_semitones is {self.pitch_semitones}: from -{SEMITONES}, an octave "
                f"lower, to {SEMITONES}"
            )
        for key, least in (("longest", 10), ("frames", 1), ("speaker", 0)):
            if (value := getattr(self, key)) is not None and value < least:
                raise ValueError(f"workload.{key} is {value}: at least {least}")
        lines.require_texts(self.texts)
        if unknown := [name for name in self.columns or {} if name != "text"]:
            raise ValueError(f"workload.columns.{unknown[0]}: speech has one column, text")
        if not self.pretrained and not self.alphabet:
            raise ValueError("workload.alphabet is empty: a voice without letters cannot speak")

    @property
    def metric(self) -> str:
        """Mel-cepstral distortion from the baseline's audio in dB, its sign turned round."""
        return "neg_mcd_db"

    def require(self, mode: str) -> None:
        """Refuse what cannot be spoken or compared, and shapes that no compiler can know."""
        if importlib.util.find_spec("librosa") is None:
            raise WorkloadError(
                f"workload={self.name} holds audio against audio with librosa, which is not "
                f"installed: pip install 'joulebench[speech]'"
            )
        if mode == "export":
            raise WorkloadError(
                f"{self.name} cannot be exported as one graph: how long a text takes to say is "
                f"only known while it is said; technique=bf16 halves its bytes"
            )
        if mode == "compile" and self.frames is None:
            raise WorkloadError(
                "workload.frames=null: a compiled decoder would be compiled anew for the length of "
                "each text; take workload.frames=N, no fewer than the longest text has"
            )
        pieces = self._spoken.pieces  # or refused, as is all that they are made of
        lines.tell(tuple(piece for piece in pieces if piece.unknown))

    def build(self, seed: int) -> Voice:
        """Return the voice.

        Raises:
            WorkloadError: There is no such model, or no such speaker in it.
        """
        config = self._config
        torch.manual_seed(seed)
        vits = voice.pretrained(self.model) if self.pretrained else voice.fresh(config)
        return Voice(vits, self.speaking_rate, self.frames)

    def student(self, name: str, seed: int) -> nn.Module:
        """Return the voice with fewer steps of its flow.

        Args:
            name: ``2F`` keeps two, those next to the decoder. An even number goes, since each step
                turns the channels round.
            seed: Of random weights.
        """
        model = self.build(seed)
        steps: Any = model.flow.flows
        found = re.fullmatch(r"(\d+)F", name)
        kept = int(found[1]) if found else 0
        if not 0 < kept < len(steps) or (len(steps) - kept) % 2:
            raise WorkloadError(
                f"technique.student={name}: the voice has {len(steps)} steps of flow, of which an "
                f"even number can go: 2F keeps two"
            )
        del steps[kept:]
        return model

    def train_examples(self) -> Examples:
        """Return the texts, which nothing is trained on: an example of what a model is given."""
        return self._spoken

    def plain_train_examples(self) -> Examples:
        """Return the same."""
        return self._spoken

    def test_examples(self) -> Examples:
        """Return the texts."""
        return self._spoken

    def prunable(self, model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
        """Return the decoder, where nearly all the work is, and the layer that gives its audio."""
        decoder: Any = model.decoder
        return decoder, decoder.conv_post

    def full_precision(self, model: nn.Module) -> Sequence[nn.Module]:
        """Return the durations' predictor, whose splines have no roots in 16 bits."""
        predictor: Any = model.duration_predictor
        return (predictor,)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return audio, ``(batch, samples)``, and ``END`` where there is no more."""
        audio: Tensor = model(
            batch["letters"],
            batch["mask"],
            batch["letter_noise"],
            batch["frame_noise"],
            batch.get("speaker"),
        )
        return audio

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Refuse: there is nothing to learn from.

        Raises:
            WorkloadError: Always.
        """
        raise WorkloadError(f"{self.name} has no loss, since {self.untrainable}")

    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the seconds of audio of each text."""
        return (outputs != END).sum(dim=1) / self._config.sampling_rate

    def serving(self, model: nn.Module, batch: Batch) -> tuple[Callable[[], None], float]:
        """Return a pass from texts to audio, and how many seconds of it are made.

        A VITS gives all of a text's audio at once: of a single text the time that this takes is
        the latency to the first sample.
        """
        audio = self.forward(model, batch)
        seconds = float((audio != END).sum()) / self._config.sampling_rate

        def serve() -> None:
            audio = self.forward(model, batch)
            if self.pitch_semitones:
                for said in _spoken(audio):
                    self._voiced(said)

        return serve, seconds

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        """Return the mean seconds of audio of a text; what quality is, ``distances`` say.

        Args:
            labels: Nothing is known of how long a text should take.
            predictions: Seconds of audio.
        """
        return {"audio_s": float(np.mean(predictions))}

    def exhibit(self, outputs: Tensor, places: Sequence[int], folder: Path) -> None:
        """Write each text's audio as a WAV, and beside it the text."""
        folder.mkdir(parents=True, exist_ok=True)
        for place, audio in zip(places, _spoken(outputs), strict=True):
            sound.require_finite(audio, f"text {place:06}")
            rate_hz = self._config.sampling_rate
            sound.write(self._voiced(audio), rate_hz, folder / f"{place:06}.wav")
            (folder / f"{place:06}.txt").write_text(self._pieces[place].text, encoding="utf-8")

    def distances(self, baseline: Path, arm: Path) -> Mapping[str, np.ndarray]:
        """Return distortion, distance and change of duration of each text's audio."""
        return sound.distances(baseline, arm)

    def describe_data(self) -> dict[str, Any]:
        """Return where the texts come from, how many there are, and what of them is not spoken."""
        labels, pieces = np.zeros(len(self._pieces)), self._pieces
        said = "\n".join(piece.text for piece in pieces)
        return {
            "source": "workload.texts" if self.data_root is None else Path(self.data_root).name,
            "sampling_rate_hz": self._config.sampling_rate,
            "test": {
                "examples": len(pieces),
                "labels_sha256": labels_sha256(labels),
                "texts_sha256": hashlib.sha256(said.encode()).hexdigest(),
                "characters": sum(len(piece.text) for piece in pieces),
                "blank": sum(not text.strip() for _, text in self._given),
                "cut": len(pieces) - len({piece.where for piece in pieces}),
                "unknown_letters": dict(Counter("".join(piece.unknown for piece in pieces))),
            },
        }

    def _voiced(self, audio: np.ndarray) -> np.ndarray:
        """Return what is heard of a text, at the pitch that is asked for."""
        if not self.pitch_semitones:
            return audio
        return sound.shifted(audio, self._config.sampling_rate, self.pitch_semitones)

    @cached_property
    def _given(self) -> list[tuple[str, str]]:
        return lines.given(self.texts, self.data_root, (self.columns or {}).get("text", "text"))

    @cached_property
    def _pieces(self) -> list[lines.Piece]:
        return lines.pieces(
            self._given, self.longest, self._letters, most_letters=self._config.vocab_size
        )

    @cached_property
    def _spoken(self) -> lines.Spoken:
        return lines.Spoken(self._pieces, self.seed, self._config.flow_size, self.speaker)

    @property
    def _letters(self) -> Any:
        if self.pretrained:
            return voice.published_letters(self.model)
        return voice.own_letters(self.alphabet)

    @cached_property
    def _config(self) -> VitsConfig:
        if self.pretrained:
            config = voice.published_config(self.model)
        else:
            config = voice.own_config(self.architecture, len(self._letters))
        speakers = config.num_speakers
        if (self.speaker is None) != (speakers == 1) or (self.speaker or 0) >= speakers:
            raise WorkloadError(
                f"workload.speaker={self.speaker}: the model has "
                + (f"speakers 0 to {speakers - 1}" if speakers > 1 else "one voice: null")
            )
        return config


def _spoken(outputs: Tensor) -> list[np.ndarray]:
    """Return the audio of each text, without what pads it."""
    return [row[row != END] for row in outputs.float().cpu().numpy()]
