"""Audio that is written, shifted in pitch, and held against other audio.

By librosa and the reader it stands on, soundfile: torchaudio is only maintained, and has no release
for the torch used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.workloads import WorkloadError

Floats = NDArray[np.floating]

WINDOW = 1024
"""Samples that a spectrum is taken of."""

HOP = 256
"""Samples from one spectrum to the next, as in VITS, where there are not too many."""

MOST_FRAMES = 2_000
"""Spectra of one text: each of one text is held against each of the other."""

BANDS = 80
"""Of the mel scale, as in VITS and HiFi-GAN."""

CEPSTRA = 13
"""Mel-cepstral coefficients that are compared, the level left out: Skerry-Ryan et al. (2018),
arXiv:1803.09047, section 4.1."""

FLOOR = 1e-8
"""Power of a band below which all is silence, -80 dB: five times what rounding to 16 bits leaves
of it."""


def require_finite(audio: Floats, text: str) -> None:
    """Refuse audio that is not numbers throughout.

    Args:
        audio: As the model gives it.
        text: Which one is said, in words.

    Raises:
        WorkloadError: It holds infinity, or what is no number.
    """
    if not np.isfinite(audio).all():
        raise WorkloadError(
            f"{text}: the model's audio is no number everywhere, so that its dtype does not hold "
            f"what it computes: technique=bf16 reaches as far as fp32"
        )


def write(audio: Floats, rate_hz: int, file: Path) -> None:
    """Write mono audio in [-1, 1] as a WAV of 16 bits; what lies beyond is clipped."""
    import soundfile  # loaded where it is needed

    soundfile.write(file, audio, rate_hz, subtype="PCM_16")


def shifted(audio: Floats, rate_hz: int, semitones: float) -> Floats:
    """Return audio at another pitch and of the same length: stretched, then resampled."""
    import librosa

    found: Floats = librosa.effects.pitch_shift(audio, sr=rate_hz, n_steps=semitones)
    return found


def distances(baseline: Path, arm: Path) -> Mapping[str, Floats]:
    """Return how far each WAV of a folder lies from the one of the same name in another.

    Returns:
        By metric, in the order of names: ``neg_mcd_db``, the mel-cepstral distortion with its sign
        turned round, so that more is better; ``log_mel_distance_db``; and ``duration_change``, a
        fraction of the baseline's duration.

    Raises:
        WorkloadError: The folders do not hold the same names, or are of other texts.
    """
    names = [sorted(file.name for file in folder.glob("*.wav")) for folder in (baseline, arm)]
    if names[0] != names[1] or not names[0]:
        raise WorkloadError(
            f"{baseline} has {len(names[0])} WAV files and {arm} {len(names[1])}, and the same are "
            f"due: remove the folders above them, to make and evaluate both anew"
        )
    if baseline == arm:  # nothing lies from itself, and to find out takes a while
        found = np.zeros((len(names[0]), 3))
    else:
        found = np.array([_between(baseline / name, arm / name) for name in names[0]])
    distortion, distance, change = found.T
    return {
        "neg_mcd_db": 0.0 - distortion,
        "log_mel_distance_db": distance,
        "duration_change": change,
    }


def _between(one: Path, other: Path) -> tuple[float, float, float]:
    import soundfile

    if one.with_suffix(".txt").read_bytes() != other.with_suffix(".txt").read_bytes():
        raise WorkloadError(
            f"{one} and {other} say other texts, as beside them: remove the folders above them, to "
            f"make and evaluate both anew"
        )
    (first, rate_hz), (second, other_hz) = (
        soundfile.read(file, dtype="float32") for file in (one, other)
    )
    if rate_hz != other_hz:
        raise WorkloadError(f"{one} has {rate_hz} Hz and {other} {other_hz} Hz")
    hop = max(HOP, -(-max(len(first), len(second)) // MOST_FRAMES))
    mels = [log_mel(audio, rate_hz, hop) for audio in (first, second)]
    return *compared(*mels), abs(len(second) - len(first)) / len(first)


def log_mel(audio: Floats, rate_hz: int, hop: int) -> Floats:
    """Return the power of mel bands in dB, ``(BANDS, frames)``, no less than the floor."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=audio, sr=rate_hz, n_fft=WINDOW, hop_length=hop, n_mels=BANDS, power=2.0
    )
    found: Floats = np.asarray(librosa.power_to_db(power, ref=1.0, amin=FLOOR, top_db=None))
    return found


def compared(one: Floats, other: Floats) -> tuple[float, float]:
    """Return the mel-cepstral distortion and the log-mel distance of two log-mel spectra, in dB.

    Frames are aligned by dynamic time warping over mel-cepstra, since a variant may take another
    time over a letter, and both are means over the path. With the mel-cepstrum ``c`` of
    the natural logarithm of power, ``ln P(m) = c[0] + 2 sum c[d] cos(pi d (m + 1/2) / BANDS)``,
    the distortion is ``10 / ln 10 * sqrt(2 sum (c[d] - c'[d]) ** 2)`` over ``d`` from 1 to
    ``CEPSTRA``. The library's coefficients are those of dB under an orthonormal transform,
    ``sqrt(2 BANDS) * 10 / ln 10`` times as large, which leaves ``sqrt(sum of squares / BANDS)``.
    The distance is the root mean square over bands, level and all.

    Args:
        one: ``(BANDS, frames)``.
        other: Likewise, perhaps of another number of frames.

    Source:
        Kubichek (1993) Mel-cepstral distance measure for objective speech quality assessment, IEEE
        Pacific Rim Conference on Communications, Computers and Signal Processing, 125-128.
    """
    import librosa

    first, second = (librosa.feature.mfcc(S=mel, n_mfcc=CEPSTRA + 1)[1:] for mel in (one, other))
    _, path = librosa.sequence.dtw(first, second)
    here, there = path.T
    gaps = first[:, here] - second[:, there]
    distortion = np.sqrt((gaps**2).sum(axis=0) / BANDS)
    distance = np.sqrt(((one[:, here] - other[:, there]) ** 2).mean(axis=0))
    return float(distortion.mean()), float(distance.mean())
