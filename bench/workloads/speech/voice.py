"""VITS as it is served: found or built, without what only its training needs, and called.

    letters -> encoder -> durations -> frames of the prior -> flow -> decoder -> audio
               `---------------- planned, never compiled -------------'   `- compiled, if asked

The library's own forward pass cannot be measured in pairs. It draws its noise from torch's global
generator in the shape of what it has found so far, so that a variant that gives one letter one
frame more hears other noise from there to the end. And it counts frames in the dtype of the
weights: bfloat16 counts to 256, four seconds, and no further.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import VitsConfig, VitsModel, VitsTokenizer
from transformers.models.vits.modeling_vits import VitsConvFlow

from bench.workloads import WorkloadError, first_line
from bench.workloads.checkpoints import located

END = 2.0
"""Stands where a text's audio has ended in a batch; a decoder's tanh never gives it."""

NOISE_FRAMES = 2048
"""Frames of noise that are drawn for a text; a frame takes its own by its letter and its place in
it, round and round, so that what changes in one letter leaves the noise of all others."""

FRAMES_OF_A_LETTER = 16
"""Frames of noise that lie between the first frames of two letters: a quarter of a second."""

_OF_TRAINING = ("post_conv_pre", "post_conv_proj", "post_conv_dds", "post_flows")
"""Parts of the duration predictor that only its training needs."""


class Voice(nn.Module):
    """A VITS whose noise is given.

    Source: Kim et al. (2021), Conditional variational autoencoder with adversarial learning for
    end-to-end text-to-speech, ICML, arXiv:2106.06103; its parts are those of transformers.
    """

    def __init__(self, vits: VitsModel, rate: float, frames: int | None) -> None:
        """Take the parts that speak.

        Args:
            vits: A whole model, which is taken apart.
            rate: Of speaking; 2 takes half the time.
            frames: To which all speech is padded; ``None`` for the longest of each batch.
        """
        super().__init__()
        self.config = vits.config
        self.rate = rate
        self.frames = frames
        self.text_encoder = vits.text_encoder
        self.duration_predictor = vits.duration_predictor
        self.flow = vits.flow
        self.decoder = vits.decoder
        if vits.config.num_speakers > 1:
            self.embed_speaker = vits.embed_speaker
        for part in _OF_TRAINING:
            if hasattr(self.duration_predictor, part):
                delattr(self.duration_predictor, part)
        for module in list(self.modules()):  # norms of weights are for training, too
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")

    def forward(
        self,
        letters: Tensor,
        mask: Tensor,
        letter_noise: Tensor,
        frame_noise: Tensor,
        speaker: Tensor | None = None,
    ) -> Tensor:
        """Return audio in [-1, 1], ``(batch, samples)``, and ``END`` where there is no more.

        Args:
            letters: Numbers of letters, ``(batch, letters)``.
            mask: 1 for each of them, 0 for padding.
            letter_noise: Of durations, ``(batch, letters, 2)``; unused where they are not drawn.
            frame_noise: Of sound, ``(batch, NOISE_FRAMES, channels)``.
            speaker: Numbers of voices, ``(batch,)``, if the model has several.
        """
        latents, lengths, person = _plan(self, letters, mask, letter_noise, frame_noise, speaker)
        audio: Tensor = self.decoder(latents, person).squeeze(1)
        hop = audio.shape[1] // latents.shape[2]
        places = torch.arange(audio.shape[1], device=audio.device)
        return audio.masked_fill(places >= hop * lengths.unsqueeze(1), END)


def _planned(
    voice: Voice,
    letters: Tensor,
    mask: Tensor,
    letter_noise: Tensor,
    frame_noise: Tensor,
    speaker: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what the decoder is given, how many frames of it are speech, and whose voice."""
    dtype = voice.text_encoder.embed_tokens.weight.dtype
    real = mask.unsqueeze(-1).to(dtype)
    person = None if speaker is None else voice.embed_speaker(speaker).unsqueeze(-1)
    encoded = voice.text_encoder(input_ids=letters, padding_mask=real, attention_mask=mask)
    durations = _durations(
        voice, encoded.last_hidden_state.transpose(1, 2), real.transpose(1, 2), person, letter_noise
    )
    lengths = durations.sum(dim=1).clamp(min=1)
    frames = torch.arange(_width(voice, lengths), device=letters.device)
    inside = frames < lengths.unsqueeze(1)
    ends = durations.cumsum(dim=1)
    everywhere = frames.expand(len(letters), -1).contiguous()
    letter = torch.searchsorted(ends, everywhere, right=True).clamp(max=letters.shape[1] - 1)
    since = frames - (ends - durations).gather(1, letter)
    noise = _taken(frame_noise, (FRAMES_OF_A_LETTER * letter + since) % NOISE_FRAMES)
    means = _taken(encoded.prior_means, letter)
    spread = torch.exp(_taken(encoded.prior_log_variances, letter)) * voice.config.noise_scale
    latents = (means + noise * spread).transpose(1, 2)
    shown = inside.unsqueeze(1).to(dtype)
    return voice.flow(latents, shown, person, reverse=True) * shown, lengths, person


_plan = torch.compiler.disable(_planned)
"""The same, left alone by compilers: how long anything is turns out as it is computed."""


def _durations(
    voice: Voice, hidden: Tensor, real: Tensor, person: Tensor | None, noise: Tensor
) -> Tensor:
    """Return the frames of each letter: int64, ``(batch, letters)``."""
    predictor, config = voice.duration_predictor, voice.config
    dtype = next(predictor.parameters()).dtype
    hidden, real = hidden.to(dtype), real.to(dtype)
    person = None if person is None else person.to(dtype)
    if config.use_stochastic_duration_prediction:
        drawn = noise.transpose(1, 2).to(dtype) * config.noise_scale_duration
        logs = _flowed(predictor, hidden, real, person, drawn)
    else:
        logs = predictor(hidden, real, person)
    frames = torch.ceil(torch.exp(logs.float()) * real.float() * (1.0 / voice.rate))
    return frames.squeeze(1).long()


def _flowed(
    predictor: Any, hidden: Tensor, real: Tensor, person: Tensor | None, latents: Tensor
) -> Tensor:
    """Return logarithms of durations: the predictor's reverse pass, with the noise given."""
    hidden = predictor.conv_pre(hidden)
    if person is not None:
        hidden = hidden + predictor.cond(person)
    hidden = predictor.conv_proj(predictor.conv_dds(hidden, real)) * real
    flows = list(reversed(predictor.flows))
    for flow in (*flows[:-2], flows[-1]):  # as its authors: the last but one does nothing
        latents = torch.flip(latents, [1])
        latents, _ = flow(latents, real, global_conditioning=hidden, reverse=True)
    return latents[:, :1]


def _width(voice: Voice, lengths: Tensor) -> int:
    longest = int(lengths.max())
    if voice.frames is None:
        return longest
    if longest > voice.frames:
        raise WorkloadError(
            f"workload.frames={voice.frames}: a text takes {longest} frames; give as many or more, "
            f"or cut texts shorter with workload.longest"
        )
    return voice.frames


def _taken(values: Tensor, rows: Tensor) -> Tensor:
    """Return ``values[b, rows[b]]`` of each ``b``: ``(batch, rows, channels)``."""
    return values.gather(1, rows.unsqueeze(-1).expand(-1, -1, values.shape[2]))


def pretrained(model: str) -> VitsModel:
    """Return a published model: tensors from safetensors, no pickle.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    place = located(model, "workload.model")
    published_config(model)
    library: Any = VitsModel  # a pair is not what checkers expect of it
    try:
        found, told = library.from_pretrained(
            place, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as err:
        raise _unknown(model, err) from err
    speaking = [name for name in told["missing_keys"] if not _only_trained(name)]
    if speaking:  # the library would draw them at random
        raise WorkloadError(
            f"workload.model={model} lacks {len(speaking)} tensors of a VITS, such as "
            f"{min(speaking)}: it is of another model, or broken"
        )
    vits: VitsModel = found
    return vits


def _only_trained(name: str) -> bool:
    """Return whether a tensor belongs to what ``Voice`` drops."""
    return name.startswith("posterior_encoder.") or any(
        name.startswith(f"duration_predictor.{part}.") for part in _OF_TRAINING
    )


def fresh(config: VitsConfig) -> VitsModel:
    """Return a model with random weights, from torch's generator.

    The library leaves the splines of durations as random as all else, which gives a letter
    anything from a frame to two seconds; their authors start them at the identity (ConvFlow in
    modules.py of github.com/jaywalnut310/vits), which gives it two frames.
    """
    model = VitsModel(config)
    for module in model.modules():
        if isinstance(module, VitsConvFlow):
            for tensor in module.conv_proj.parameters():
                nn.init.zeros_(tensor)
    return model


def published_config(model: str) -> VitsConfig:
    """Return the configuration of a published model.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    place = located(model, "workload.model")
    try:
        kind = VitsConfig.get_config_dict(place)[0].get("model_type")
        found = VitsConfig.from_pretrained(place) if kind == VitsConfig.model_type else None
    except Exception as err:  # of many kinds, for a value that is not what its field wants
        raise _unknown(model, err) from err
    if found is None:
        raise WorkloadError(f"workload.model={model} is no VITS, its config.json says {kind}")
    return found


def own_config(architecture: Mapping[str, Any], letters: int) -> VitsConfig:
    """Return the configuration of an architecture with so many letters.

    Raises:
        WorkloadError: There is no such architecture.
    """
    kind: Any = VitsConfig  # a dataclass, made one where no checker sees it
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(architecture) - known):  # which the library would take and forget
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.0)
        raise WorkloadError(
            f"workload.architecture.{unknown[0]}: VITS has no such part; nearest: {near[0]}"
        )
    try:
        return VitsConfig(**copy.deepcopy(dict(architecture)), vocab_size=letters)
    except Exception as err:  # of many kinds, for a value that is not what its field wants
        raise WorkloadError(
            f"workload.architecture={dict(architecture)} is none of VITS: {first_line(err)}"
        ) from err


@lru_cache(maxsize=4)
def published_letters(model: str) -> VitsTokenizer:
    """Return the tokenizer of a published model.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    try:
        return VitsTokenizer.from_pretrained(located(model, "workload.model"))
    except Exception as err:  # the library behind raises nothing more special for a broken file
        raise _unknown(model, err) from err


@lru_cache(maxsize=4)
def own_letters(alphabet: str) -> VitsTokenizer:
    """Return a tokenizer of single letters, in the order of an alphabet, blanks between them."""
    table = {word: n for n, word in enumerate(["<pad>", "<unk>", *dict.fromkeys(alphabet)])}
    with TemporaryDirectory() as folder:
        file = Path(folder, "vocab.json")
        file.write_text(json.dumps(table), encoding="utf-8")
        return VitsTokenizer(str(file), phonemize=False)


def _unknown(model: str, err: Exception) -> WorkloadError:
    return WorkloadError(
        f"workload.model={model} cannot be loaded: {first_line(err)} Give a hub id that can be "
        f"reached, a local folder with config.json, model.safetensors and vocab.json, or take "
        f"workload.pretrained=false for an architecture with random weights"
    )
