"""A voice says what the library says, both arms with one noise; audio is what its file says."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluating import evaluated
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from runs import bench as run
from runs import records
from safetensors.torch import load_file, save_file
from tiny import CONF, EAGER, RECIPE, configured, tiny_speech
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from transformers import audio_utils
from transformers.models.vits.modeling_vits import VitsConvFlow

import bench.__main__  # registers the resolver of the host's name
from bench import artefacts, asked, facts, store
from bench.digests import labels_sha256
from bench.measurement.serving import load_of
from bench.sweeping import preflight
from bench.techniques import Setting, Technique, TechniqueError
from bench.techniques.half import Half
from bench.techniques.structured_pruning import StructuredPruning
from bench.training.splitting import Part, split
from bench.validate import examination
from bench.workloads import Batch, WorkloadError
from bench.workloads.speech import lines, sound, voice
from bench.workloads.speech.voice import END, FRAMES_OF_A_LETTER, NOISE_FRAMES, Voice

assert bench.__main__

HOP = 8 * 8 * 2 * 2  # VITS: upsample_rates
BF16 = Half("bf16", "bf16")
PRUNING = StructuredPruning("prune", 0.5, None, "magnitude", "layer", 1, 8, 0, 0.1)


def batch_of(workload: Any, indices: Sequence[int] = (0, 1)) -> Batch:
    return workload.test_examples().__getitems__(indices)


def said(workload: Any, model: nn.Module, batch: Batch) -> Tensor:
    with torch.inference_mode():
        return workload.forward(model.eval(), batch)


def with_bent_splines(model: nn.Module) -> nn.Module:
    """Return the model with durations that depend on letters; fresh ones hardly do."""
    generator = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, VitsConvFlow):
            module.conv_proj.weight.data.normal_(0, 0.3, generator=generator)
    return model.eval()


def _alike(workload: Any) -> Any:
    torch.manual_seed(1)
    return with_bent_splines(voice.fresh(workload._config))


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"use_stochastic_duration_prediction": False},
        {"num_speakers": 3, "speaker_embedding_size": 4},
    ],
)
def test_a_voice_says_what_the_library_says_with_the_same_noise(
    architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    several = "num_speakers" in architecture
    workload = tiny_speech(architecture, speaker=2 if several else None)
    # Made twice, not copied: copies of weight-normed modules share a class, which Voice undoes.
    vits, same = _alike(workload), _alike(workload)
    model = Voice(same, 1.0, None)
    batch = batch_of(workload, [1])
    # One vector for all frames: however they are laid out, the noise is the same.
    batch["frame_noise"] = batch["frame_noise"][:, :1].expand(-1, NOISE_FRAMES, -1)
    vector = batch["frame_noise"][0, 0]
    monkeypatch.setattr(torch, "randn", lambda *size: batch["letter_noise"].transpose(1, 2))
    monkeypatch.setattr(torch, "randn_like", lambda like: vector[None, :, None].expand_as(like))
    with torch.inference_mode():
        theirs = vits(
            input_ids=batch["letters"],
            attention_mask=batch["mask"],
            speaker_id=2 if several else None,
        )
    ours = said(workload, model, batch)
    assert ours.shape == theirs.waveform.shape == (1, theirs.sequence_lengths.item())
    torch.testing.assert_close(ours, theirs.waveform, rtol=1e-3, atol=1e-4)  # of at most 1
    assert theirs.waveform.abs().max() > 0.01


def test_one_frame_more_of_a_letter_leaves_the_noise_of_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Still(nn.Module):
        def forward(self, latents: Tensor, *_: Any, reverse: bool) -> Tensor:
            return latents

    workload = tiny_speech()
    model = workload.build(0).eval()
    model.flow = Still()
    for parameter in model.text_encoder.project.parameters():
        parameter.data.zero_()  # the prior is a standard normal: latents are nothing but noise
    batch = batch_of(workload, [0])
    count = batch["letters"].shape[1]
    shorter = torch.full((1, count), 2)
    longer = shorter.clone()
    longer[0, 3] = 3
    seen = []
    for durations in (shorter, longer):
        monkeypatch.setattr(voice, "_durations", lambda *_, given=durations: given)
        names = ("letters", "mask", "letter_noise", "frame_noise")
        latents, lengths, _ = voice._planned(model, *(batch[name] for name in names), None)
        assert lengths.item() == latents.shape[2] == durations.sum()
        seen.append(latents[0] / model.config.noise_scale)
    assert torch.equal(seen[0][:, :8], seen[1][:, :8])  # letters 0 to 3, two frames each
    assert torch.equal(seen[0][:, 8:], seen[1][:, 9:])
    bank = batch["frame_noise"][0]
    torch.testing.assert_close(seen[1][:, 8], bank[3 * FRAMES_OF_A_LETTER + 2])
    assert len(seen[0].unique()) == seen[0].numel()


def test_noise_belongs_to_text_and_seed_and_to_no_batch() -> None:
    workload = tiny_speech()
    alone, both = batch_of(workload, [0]), batch_of(workload, [1, 0])
    count = alone["letters"].shape[1]
    assert count < both["letters"].shape[1]
    assert torch.equal(alone["frame_noise"][0], both["frame_noise"][1])
    assert torch.equal(alone["letter_noise"][0], both["letter_noise"][1, :count])
    assert both["mask"].sum(dim=1).tolist() == [both["letters"].shape[1], count]
    assert not both["letters"][1, count:].any()
    other = batch_of(tiny_speech(seed=1), [0])
    assert not torch.equal(alone["frame_noise"], other["frame_noise"])
    model = with_bent_splines(workload.build(0))
    lengths = [(said(workload, model, batch) != END).sum(dim=1) for batch in (alone, both)]
    assert lengths[0][0] == lengths[1][1]


def test_two_equal_arms_give_equal_audio_bit_for_bit() -> None:
    workload = tiny_speech()
    first, second = (said(workload, workload.build(3), batch_of(workload)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, said(workload, workload.build(4), batch_of(workload)))


def test_speech_ends_where_its_frames_end() -> None:
    workload = tiny_speech()
    audio = said(workload, workload.build(0), batch_of(workload))
    sounding = audio != END
    counts = sounding.sum(dim=1)
    assert (counts % HOP == 0).all()
    assert audio.shape[1] == counts.max()
    assert counts[0] < counts[1]
    assert all(row[:count].all() for row, count in zip(sounding, counts, strict=True))
    assert audio[sounding].abs().max() <= 1
    seconds = workload.predict(audio, {})
    assert seconds.tolist() == pytest.approx([count / 16_000 for count in counts.tolist()])
    faster = tiny_speech(speaking_rate=2.0)
    half = said(faster, faster.build(0), batch_of(faster))
    assert (half != END).sum() < 0.8 * sounding.sum()  # each letter takes a frame at least


def test_a_fresh_voice_speaks_about_as_fast_as_people() -> None:
    workload = configured("speech")
    batch = batch_of(workload, range(4))
    seconds = workload.predict(said(workload, workload.build(0), batch), batch)
    characters = sum(len(text) for text in workload.texts[:4])
    # Some fifteen characters a second: 150 to 200 words a minute.
    assert 8 < characters / float(seconds.sum()) < 30


def test_a_voice_holds_nothing_that_only_training_needs() -> None:
    model = tiny_speech().build(0)
    assert facts.simulations(model) == ()
    assert not [name for name in model.state_dict() if "post" in name and "conv_post" not in name]
    batch = batch_of(tiny_speech())
    assert facts.macs(tiny_speech(), EAGER, model, batch) > 0


@pytest.mark.parametrize("stages", [(), (BF16,), (PRUNING,), (PRUNING, BF16)])
def test_what_is_saved_comes_back_with_the_same_audio(
    tmp_path: Path, stages: tuple[Technique, ...]
) -> None:
    workload = tiny_speech()
    model: Any = with_bent_splines(workload.build(0))
    setting = Setting(workload, copy.deepcopy(model), 0)
    for stage in stages:
        model = stage.convert(stage.prepare(model, setting), setting)
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, model, batch)
    artefacts.save(model, stages, outputs, tmp_path, "ab" * 32)
    again: Any = artefacts.load(workload, stages, 0, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, again, batch), outputs)
    assert outputs[outputs != END].isfinite().all()
    if BF16 in stages:
        assert {p.dtype for p in again.duration_predictor.parameters()} == {torch.float32}
        assert {p.dtype for p in again.decoder.parameters()} == {torch.bfloat16}


def test_pruning_halves_the_channels_of_the_decoder_and_nothing_else() -> None:
    workload = tiny_speech()
    model: Any = workload.build(0)
    before = {name: p.shape for name, p in model.named_parameters()}
    pruned: Any = PRUNING.prepare(model, Setting(workload, copy.deepcopy(model), 0))
    decoder = pruned.decoder
    assert decoder.conv_pre.weight.shape == (32, 8, 7)
    assert decoder.upsampler[0].weight.shape == (32, 16, 16)  # inputs come first
    assert decoder.upsampler[1].weight.shape == (16, 8, 16)
    assert decoder.conv_post.weight.shape[0] == 1
    assert {
        name: p.shape for name, p in pruned.named_parameters() if not name.startswith("decoder")
    } == {name: shape for name, shape in before.items() if not name.startswith("decoder")}
    workload.forward(pruned, batch_of(workload))


def test_sixteen_bits_of_a_long_text_are_counted_frame_by_frame() -> None:
    long = " ".join(["rice is served"] * 20)  # of some 1,100 frames; bfloat16 counts to 256
    workload = tiny_speech(texts=[long, "rice"])
    model = workload.build(0)
    whole = said(workload, model, batch_of(workload, [0]))
    halved = BF16.convert(copy.deepcopy(model), Setting(workload, model, 0))
    inputs = EAGER.inputs(batch_of(workload, [0]), halved)
    found = said(workload, halved, inputs)
    assert found.dtype == torch.bfloat16
    # A fresh voice's durations are those of their noise alone, which is only rounded.
    assert found.shape[1] == pytest.approx(whole.shape[1], rel=0.01)
    assert found.shape[1] > 3 * 256 * HOP


def test_shorter_flows_are_those_next_to_the_decoder() -> None:
    workload = tiny_speech()
    model, student = workload.build(5), workload.student("2F", 5)
    assert len(model.flow.flows) == 4
    assert len(student.flow.flows) == 2
    first = model.flow.flows[0].state_dict()
    assert all(torch.equal(v, first[k]) for k, v in student.flow.flows[0].state_dict().items())
    said(workload, student, batch_of(workload))
    for name in ("3F", "4F", "0F", "2L"):
        with pytest.raises(WorkloadError, match=rf"technique\.student={name}: the voice has 4"):
            workload.student(name, 0)


def test_a_pass_counts_the_seconds_of_its_audio() -> None:
    workload = tiny_speech(batch_size=1)
    model = with_bent_splines(workload.build(0))
    batches = [batch_of(workload, [index]) for index in (0, 1)]
    audio = [said(workload, model, batch) for batch in batches]
    load = load_of(workload, model, batches, batches[0])
    assert load.batch_items == pytest.approx(sum(a.shape[1] for a in audio) / 16_000)
    load.run(1)
    load.request()


def test_batches_of_one_shape_and_other_lengths_of_speech_are_gone_through_in_rounds() -> None:
    workload = tiny_speech(texts=["a" * 40, "e" * 40], batch_size=1)
    model = with_bent_splines(workload.build(0))
    batches = [batch_of(workload, [index]) for index in (0, 1)]
    assert batches[0]["letters"].shape == batches[1]["letters"].shape
    seconds = [workload.serving(model, batch)[1] for batch in batches]
    assert seconds[0] != seconds[1]
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    load = load_of(workload, model, batches, batches[0])
    calls.clear()
    load.run(3)
    assert len(calls) == 6
    assert load.batch_items == pytest.approx(sum(seconds))


def test_a_compiled_voice_is_compiled_once_for_texts_of_any_length() -> None:
    # More lengths than the compiler would make code for (torch._dynamo.config.recompile_limit).
    workload = tiny_speech(texts=["rice" + " rice" * more for more in range(12)], frames=300)
    model = workload.build(0).eval()
    counter = CompileCounter()
    served = torch.compile(model, backend=counter, dynamic=False)
    for index in (*range(12), 0):
        batch = batch_of(workload, [index])
        found, plain = said(workload, served, batch), said(workload, model, batch)
        assert plain.shape[1] == 300 * HOP
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1


def test_speech_that_does_not_fit_its_frames_is_refused() -> None:
    workload = tiny_speech(frames=3)
    with pytest.raises(WorkloadError, match=r"workload\.frames=3: a text takes \d+ frames"):
        said(workload, workload.build(0), batch_of(workload))


# Audio.


def tones(*samples: int, hz: float = 440.0) -> Tensor:
    """Sines of so many samples as a batch, END after them."""
    batch = torch.full((len(samples), max(samples)), END)
    for row, count in enumerate(samples):
        batch[row, :count] = 0.5 * torch.sin(2 * math.pi * hz * torch.arange(count) / 16_000)
    return batch


def heard(file: Path) -> tuple[int, int, float]:
    """Rate, samples and pitch of a WAV, read by the standard library."""
    with wave.open(str(file), "rb") as audio:
        assert (audio.getnchannels(), audio.getsampwidth()) == (1, 2)
        rate_hz, count = audio.getframerate(), audio.getnframes()
        samples = np.frombuffer(audio.readframes(count), "<i2") / 32_768
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(count)))
    return rate_hz, count, float(np.fft.rfftfreq(count, 1 / rate_hz)[spectrum.argmax()])


@pytest.mark.parametrize(("semitones", "hz"), [(0.0, 440.0), (12.0, 880.0), (-5.0, 329.63)])
def test_wavs_have_rate_length_and_pitch_as_an_independent_reader_hears_them(
    tmp_path: Path, semitones: float, hz: float
) -> None:
    # Equal temperament: a semitone is 2 ** (1 / 12); five below A4 is E4, 329.63 Hz.
    workload = tiny_speech(pitch_semitones=semitones)
    workload.exhibit(tones(16_000, 12_000), (0, 1), tmp_path / "kept")
    for number, count in enumerate((16_000, 12_000)):
        rate_hz, samples, pitch = heard(tmp_path / "kept" / f"{number:06}.wav")
        assert (rate_hz, samples) == (16_000, count)
        assert pitch == pytest.approx(hz, abs=2.5)  # bins are 1.3 Hz apart in the shorter one
    texts = [(tmp_path / "kept" / f"{n:06}.txt").read_text() for n in (0, 1)]
    assert texts == ["Rice is served.", "Four hours of steady work."]


@pytest.mark.parametrize("semitones", [0.0, 2.0])
def test_audio_that_is_no_number_is_refused(tmp_path: Path, semitones: float) -> None:
    audio = tones(500)
    audio[0, 7] = math.nan
    with pytest.raises(WorkloadError, match="text 000000: the model's audio is no number"):
        tiny_speech(pitch_semitones=semitones).exhibit(audio, (0,), tmp_path)


def ripple(order: int, db: float) -> np.ndarray:
    """A log-mel spectrum of one frame: a cosine over bands around -20 dB."""
    bands = np.arange(sound.BANDS) + 0.5
    return (-20 + db * np.cos(math.pi * order * bands / sound.BANDS))[:, None]


def test_distortion_of_a_ripple_is_its_height_over_the_root_of_two() -> None:
    flat = ripple(1, 0.0)
    for order in (1, 13):
        # c[order] = height * ln 10 / 20 by Kubichek's definition, and nothing else differs.
        distortion, distance = sound.compared(flat, ripple(order, 3.0))
        assert distortion == pytest.approx(3 / math.sqrt(2))
        assert distance == pytest.approx(3 / math.sqrt(2))
    distortion, distance = sound.compared(flat, ripple(14, 3.0))  # one beyond those compared
    assert distortion == pytest.approx(0, abs=1e-9)
    assert distance == pytest.approx(3 / math.sqrt(2))
    distortion, distance = sound.compared(flat, flat + 6.0)  # only louder
    assert distortion == pytest.approx(0, abs=1e-9)
    assert distance == pytest.approx(6.0)


def cepstra(spectra: np.ndarray) -> np.ndarray:
    """The first thirteen mel-cepstral coefficients of spectra in dB, by their definition."""
    bands = np.arange(sound.BANDS) + 0.5
    basis = np.cos(math.pi * np.arange(1, 14)[:, None] * bands / sound.BANDS)
    return basis @ (spectra * math.log(10) / 10) / sound.BANDS


def by_kubichek(gaps: np.ndarray) -> np.ndarray:
    """The distortion of frames whose coefficients differ by so much."""
    return 10 / math.log(10) * np.sqrt(2 * (gaps**2).sum(axis=0))


def test_distortion_follows_kubicheks_formula() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(-30, 8, (2, sound.BANDS, 1))
    distortion, distance = sound.compared(one, other)
    assert distortion == pytest.approx(by_kubichek(cepstra(one) - cepstra(other))[0])
    assert distortion < distance == pytest.approx(float(np.sqrt(((one - other) ** 2).mean())))


def test_speech_that_dwells_longer_is_aligned() -> None:
    spectra = np.random.default_rng(1).normal(-30, 8, (sound.BANDS, 6))
    assert sound.compared(spectra, spectra.repeat(2, axis=1)) == pytest.approx((0, 0), abs=1e-9)
    assert sound.compared(spectra, spectra[:, ::-1])[0] > 1


def paths(rows: int, columns: int) -> list[list[tuple[int, int]]]:
    """All ways from the first pair of frames to the last, no frame left out, none gone back to."""
    if rows == columns == 1:
        return [[(0, 0)]]
    steps = [(rows - 1, columns), (rows, columns - 1), (rows - 1, columns - 1)]
    last = (rows - 1, columns - 1)
    return [[*path, last] for step in steps if min(step) for path in paths(*step)]


def test_both_distances_are_means_over_the_cheapest_of_all_alignments() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.normal(-30, 8, (sound.BANDS, 4)), rng.normal(-30, 8, (sound.BANDS, 3))
    apart = by_kubichek(cepstra(one)[:, :, None] - cepstra(other)[:, None, :])
    tried = paths(4, 3)
    assert len(tried) == 25  # Delannoy's number D(3, 2)
    best = min(tried, key=lambda path: sum(apart[pair] for pair in path))
    levels = [math.sqrt(((one[:, i] - other[:, j]) ** 2).mean()) for i, j in best]
    expected = np.mean([apart[pair] for pair in best]), np.mean(levels)
    assert sound.compared(one, other) == pytest.approx(expected)


def test_log_mel_spectra_are_those_of_an_independent_library() -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 16_000).astype(np.float32)
    noise[8_000:] = 0  # below the floor
    filters = audio_utils.mel_filter_bank(
        *(1 + sound.WINDOW // 2, sound.BANDS, 0.0, 8_000.0, 16_000),
        norm="slaney",
        mel_scale="slaney",
    )
    expected = audio_utils.spectrogram(
        noise,
        audio_utils.window_function(sound.WINDOW, "hann"),
        frame_length=sound.WINDOW,
        hop_length=sound.HOP,
        power=2.0,
        pad_mode="constant",
        mel_filters=filters,
        mel_floor=sound.FLOOR,
        log_mel="dB",
        min_value=sound.FLOOR,
    )
    found = sound.log_mel(noise, 16_000, sound.HOP)
    assert found.shape == expected.shape == (80, 63)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert found[:, -1].max() == pytest.approx(-80)
    assert found[:, 10].min() > -40


def test_what_rounding_to_16_bits_leaves_is_silence() -> None:
    # Rounding is as loud as noise of a twelfth of a step squared: Bennett (1948).
    noise = np.random.default_rng(4).uniform(-0.5, 0.5, 16_000) / 32_768
    for rate_hz in (16_000, 22_050):
        found = sound.log_mel(noise, rate_hz, sound.HOP)
        assert np.isclose(found, -80).mean() > 0.99


def test_audio_at_half_the_level_is_as_distorted_as_none_and_six_decibels_away(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(2).uniform(-0.9, 0.9, 16_000).astype(np.float32)
    for name, audio in (("loud", noise), ("soft", noise / 2)):
        (tmp_path / name).mkdir()
        sound.write(audio, 16_000, tmp_path / name / "000000.wav")
        (tmp_path / name / "000000.txt").write_text("Noise.")
    found = sound.distances(tmp_path / "loud", tmp_path / "soft")
    assert found["neg_mcd_db"][0] == pytest.approx(0, abs=0.02)
    assert found["log_mel_distance_db"][0] == pytest.approx(20 * math.log10(2), abs=0.02)
    assert found["duration_change"].tolist() == [0]


def test_what_a_search_keeps_for_its_trials_has_its_own_texts_beside_it(tmp_path: Path) -> None:
    texts = ["One.", "Two, two.", "Three, three, three.", "Four.", "Five and five."]
    workload = tiny_speech(texts=texts)
    evaluated(workload, workload.build(0), (), tmp_path / "a", tmp_path / "a", held_out=0.5)
    _, kept = split(workload, lambda examples: examples, 0.5, 0)
    assert isinstance(kept, Part)
    assert sorted(kept.indices) != [0, 1]
    (folder,) = (path for path in (tmp_path / "a").iterdir() if path.is_dir())
    assert {file.name for file in folder.glob("*.wav")} == {f"{n:06}.wav" for n in kept.indices}
    for place in kept.indices:
        assert (folder / f"{place:06}.txt").read_text() == texts[place]
        batch = batch_of(workload, [place])
        samples = said(workload, workload.build(0), batch).shape[1]
        assert heard(folder / f"{place:06}.wav")[1] == samples


def test_an_arm_is_no_distance_from_itself_and_others_are(tmp_path: Path) -> None:
    workload = tiny_speech()
    model = workload.build(0)
    halved = BF16.convert(copy.deepcopy(model), Setting(workload, model, 0))
    same = evaluated(workload, model, (), tmp_path / "one", tmp_path / "one")
    other = evaluated(workload, halved, (BF16,), tmp_path / "two", tmp_path / "one")
    assert same.reload_exact
    assert other.reload_exact
    assert same.labels == same.predictions == (0.0, 0.0)
    assert math.copysign(1, same.metrics["neg_mcd_db"]) == 1
    assert max(other.predictions) < 0
    assert other.metrics["neg_mcd_db"] == pytest.approx(np.mean(other.predictions))
    # By Parseval's theorem: the first has all coefficients of a frame, the second thirteen.
    assert other.metrics["log_mel_distance_db"] > -other.metrics["neg_mcd_db"] > 0
    heard_s = [samples / rate_hz for rate_hz, samples, _ in map(heard, wavs(tmp_path, same))]
    assert same.metrics["audio_s"] == pytest.approx(np.mean(heard_s))
    assert len(wavs(tmp_path, other)) == 2
    text = wavs(tmp_path, other)[0].with_suffix(".txt")
    text.write_text(text.read_text().upper())
    with pytest.raises(WorkloadError, match=r"000000\.wav say other texts"):
        sound.distances(wavs(tmp_path, same)[0].parent, wavs(tmp_path, other)[0].parent)
    with pytest.raises(WorkloadError, match=r"has 2 WAV files and .* 0, and the same are due"):
        sound.distances(wavs(tmp_path, same)[0].parent, tmp_path)


def wavs(artefacts: Path, found: Any) -> list[Path]:
    """Files of an arm or an evaluation, below the folder of the artefacts."""
    return sorted((artefacts / found.exhibits).glob("*.wav"))


def test_long_speech_is_compared_in_no_more_frames_than_fit_the_memory(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        sound.write(np.zeros(sound.MOST_FRAMES * sound.HOP * 2), 16_000, tmp_path / name / "0.wav")
        (tmp_path / name / "0.txt").write_text("Silence.")
    seen = []

    def watched(one: Any, other: Any) -> tuple[float, float]:
        seen.append((one.shape, other.shape))
        return 0.0, 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound, "compared", watched)
        sound.distances(tmp_path / "one", tmp_path / "other")
    ((one, other),) = seen
    assert one == other == (sound.BANDS, sound.MOST_FRAMES + 1)


# Texts.


def told(texts: list[str] | None = None, root: Path | None = None, **changes: Any) -> str:
    workload = tiny_speech(**({} if texts is None else {"texts": texts}), **changes)
    workload = dataclasses.replace(workload, data_root=None if root is None else str(root))
    with pytest.raises(WorkloadError) as caught:
        workload.require("eager")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("said.txt", "One.\n\n  \nTwo!\n"),
        ("said.csv", "text,who\nOne.,a\n,b\n  ,b\nTwo!,c\n"),
        ("said.jsonl", '{"text": "One."}\n{"text": ""}\n{"text": " "}\n{"text": "Two!"}\n'),
    ],
)
def test_blank_texts_of_a_users_file_are_left_out_and_counted(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    workload = tiny_speech(data_root=str(tmp_path / name))
    described = json.loads(json.dumps(workload.describe_data()))
    assert [piece.text for piece in workload._pieces] == ["One.", "Two!"]
    assert described["source"] == name
    assert described["test"]["blank"] == 2
    assert described["test"]["examples"] == 2
    labels = batch_of(workload)["labels"].numpy()
    assert described["test"]["labels_sha256"] == labels_sha256(labels)


def test_a_text_of_no_known_letter_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("One.\n\n\u041f\u0440\u0438\u0432\u0435\u0442\n", encoding="utf-8")
    assert told(root=file).startswith(f"{file}, line 3: the voice knows no letter of '")
    assert "workload.texts[1]: the voice knows no letter of '...'" in told(["One.", "..."])


def test_letters_of_another_script_are_named_by_line_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Right-to-left words and marks of direction among Latin ones; a ligature, a digit, an accent.
    mixed = "Say \u202b\u0633\u0644\u0627\u0645\u202c to all 3, na\u00efve."
    (tmp_path / "said.txt").write_text(f"One.\n{mixed}\nTwo.\n", encoding="utf-8")
    workload = tiny_speech(data_root=str(tmp_path / "said.txt"))
    workload.require("eager")
    unknown = sorted("\u0633\u0644\u0627\u0645" + "3\u00ef")
    assert caplog.messages == [
        f"{tmp_path / 'said.txt'}, line 2: spoken without {''.join(unknown)}"
    ]
    plain = tiny_speech(texts=["Say  to all , nave.", "Two."])
    assert workload._pieces[1].letters == plain._pieces[0].letters
    counted = workload.describe_data()["test"]["unknown_letters"]
    assert counted == dict.fromkeys(unknown, 1)


def test_a_text_of_ten_thousand_characters_is_spoken_in_pieces() -> None:
    text = ("rice is served " * 700)[:10_000]
    workload = tiny_speech(texts=[text, "x" * 700], longest=300)
    pieces = workload._pieces
    assert max(len(piece.text) for piece in pieces) <= 300
    assert " ".join(piece.text for piece in pieces[:-3]) == " ".join(text.split())
    assert [len(piece.text) for piece in pieces[-3:]] == [300, 300, 100]
    assert workload.describe_data()["test"]["cut"] == len(pieces) - 2
    audio = said(workload, workload.build(0), batch_of(workload, [0]))
    assert (audio != END).all()


def test_one_text_alone_or_no_file_is_refused(tmp_path: Path) -> None:
    assert "1 texts that are not blank, out of 2" in told(["One.", ""])
    assert f"data.root={tmp_path} is no file" in told(root=tmp_path)
    (tmp_path / "said.csv").write_text("words\nOne.\n")
    assert "no column 'text' (there are words); workload.columns says" in told(
        root=tmp_path / "said.csv"
    )
    renamed = tiny_speech(data_root=str(tmp_path / "said.csv"), columns={"text": "words"})
    with pytest.raises(WorkloadError, match="1 texts that are not blank, out of 1"):
        renamed.require("eager")


def test_persian_sentences_are_sixteen_and_differ() -> None:
    texts = configured("speech_fas").texts
    assert len(set(texts)) == len(texts) == 16
    persian = range(0x0600, 0x0700)  # Unicode's block Arabic, and the joiner between letters
    assert all(ord(c) in persian or c in " .\u200c" for text in texts for c in text)


def test_letters_stand_between_blanks() -> None:
    words = voice.own_letters("abc ")
    assert words("Ab, C!")["input_ids"] == [0, 2, 0, 3, 0, 5, 0, 4, 0]
    (piece, _) = lines.pieces([("here", "ab"), ("there", "c")], 10, words, most_letters=6)
    assert piece.letters == (0, 2, 0, 3, 0)
    with pytest.raises(
        WorkloadError, match=r"there: 'c' has letter 4, and workload\.model embeds 4"
    ):
        lines.pieces([("here", "ab"), ("there", "c")], 10, words, most_letters=4)


def test_marks_that_are_vowels_elsewhere_are_letters_that_can_be_unknown() -> None:
    words = voice.own_letters("\u0939\u0926 ")  # Hindi consonants without their vowel signs
    texts = [("here", "\u0939\u093f\u0926 \u0939!"), ("there", "\u0939")]
    piece, _ = lines.pieces(texts, 10, words, most_letters=5)
    assert piece.unknown == "\u093f"


# What can be done to it.


def option(name: str, *overrides: str) -> Technique:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", ["workload=speech", f"technique={name}", *overrides])
    return instantiate(config.technique, _convert_="all")  # type: ignore[no-any-return]


def require(technique: Technique, workload: Any, mode: Any) -> None:
    """Ask what is asked of a pair before anything is made."""
    training = dataclasses.replace(RECIPE, epochs=0)
    runtime = dataclasses.replace(EAGER, mode=mode)
    asked.require(workload, technique, training, runtime, dataclasses.asdict(training))


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("fp16", "eager", "needs a GPU"),
        ("int8_dynamic", "eager", "there are no integers for the rest of it; technique=bf16"),
        ("int8_weight_only", "eager", "quantizes linear layers, which hold"),
        ("int8_static", "compile", "cannot be exported as one graph"),
        ("int8_qat", "compile", "cannot be exported as one graph"),
        ("structured_pruning", "eager", "technique.epochs=3: speech cannot be trained here"),
        ("lora", "eager", "technique=lora: speech cannot be trained here, since"),
        ("distillation", "eager", "technique=distillation: speech cannot be trained here, since"),
        (
            "mixed_precision",
            "eager",
            "technique=mixed_precision: speech cannot be trained here, since",
        ),
        ("head_pruning", "eager", "is no encoder"),
        ("layer_dropping", "eager", "is no encoder"),
        ("channels_last", "eager", "has none"),
        ("resolution", "eager", "workload.image_size=None"),
        ("sequence_length", "eager", "cuts texts"),
        ("compile", "eager", "workload.frames=null"),
    ],
)
def test_what_does_not_apply_is_refused_with_the_reason(name: str, mode: str, reason: str) -> None:
    workload = tiny_speech(frames=400 if mode == "compile" else None)
    with pytest.raises((TechniqueError, WorkloadError)) as caught:
        require(option(name), workload, mode)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("none", ()),
        ("bf16", ()),
        ("small_model", ()),
        ("structured_pruning", ("technique.epochs=0",)),
        ("unstructured_pruning", ("technique.epochs=0",)),
        ("compile", ()),
    ],
)
def test_what_applies_is_not_refused(name: str, overrides: tuple[str, ...]) -> None:
    require(option(name, *overrides), tiny_speech(frames=400), "eager")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), None),
        (("technique=bf16",), None),
        (("technique=small_model",), None),
        (("technique=structured_pruning", "technique.epochs=0"), None),
        (("technique=structured_pruning",), "technique.epochs=3: speech cannot be trained here"),
        (("technique=int8_dynamic",), "quantizes linear layers"),
        (("technique=compile",), "workload.frames=null"),
        (
            ("technique=structured_pruning", "technique.epochs=0", "technique.importance=taylor"),
            "technique.importance=taylor: speech cannot be trained here, since transformers has no",
        ),
        (("training.epochs=2",), "training.epochs=2: speech cannot be trained here"),
        (("workload.texts=[One.]",), "1 texts that are not blank, out of 1"),
        (("+workload.architecture.flow_sise=8",), "VITS has no such part; nearest: flow_size"),
        (("workload.longest=3",), "workload.longest is 3"),
    ],
)
def test_a_sweep_is_told_before_it_starts_what_cannot_be_spoken(
    words: tuple[str, ...], told: str | None
) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", ["workload=speech", *words])
    point: Any = OmegaConf.to_container(config, resolve=True)
    found = preflight.Looker(seconds=60.0).refusal(point)
    assert found is None if told is None else told in str(found)


def test_nothing_is_trained() -> None:
    workload = tiny_speech()
    with pytest.raises(WorkloadError, match=r"training\.epochs=3: speech cannot be trained here"):
        workload.require_trainable("training.epochs=3")
    with pytest.raises(WorkloadError, match="has no loss"):
        workload.loss(torch.zeros(1), {}, 0.0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"speaking_rate": 9.0}, "workload.speaking_rate is 9.0"),
        ({"pitch_semitones": -13.0}, "workload.pitch_semitones is -13.0"),
        ({"longest": 3}, "workload.longest is 3"),
        ({"frames": 0}, "workload.frames is 0"),
        ({"alphabet": ""}, "workload.alphabet is empty"),
        ({"margin": 20.0}, "workload.margin must be in (0, 20), got 20.0"),
        ({"columns": {"output": "said"}}, "workload.columns.output: speech has one column"),
        ({"texts": "Hello"}, "workload.texts is 'Hello': a list of texts"),
        ({"texts": ["One.", 1984]}, "workload.texts[1] is 1984, no text: put it in quotes"),
        ({"texts": None}, "workload.texts is None: a list of texts"),
    ],
)
def test_an_impossible_knob_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=r"workload\.") as caught:
        tiny_speech(**changes)
    assert named in str(caught.value)


def test_a_speaker_that_is_not_there_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"workload\.speaker=1: the model has one voice: null"):
        tiny_speech(speaker=1).build(0)
    several = {"num_speakers": 2, "speaker_embedding_size": 4}
    for speaker in (None, 2):
        with pytest.raises(WorkloadError, match="the model has speakers 0 to 1"):
            tiny_speech(several, speaker=speaker).build(0)


def test_a_model_comes_from_a_folder_with_its_letters(tmp_path: Path) -> None:
    source = tiny_speech()
    torch.manual_seed(7)
    vits = voice.fresh(source._config)
    vits.save_pretrained(tmp_path)
    voice.own_letters(source.alphabet).save_pretrained(tmp_path)
    found = tiny_speech(pretrained=True, model=str(tmp_path))
    batch = batch_of(found)
    assert torch.equal(batch["letters"], batch_of(source)["letters"])
    expected = said(source, Voice(vits, 1.0, None), batch)
    torch.testing.assert_close(said(found, found.build(0), batch), expected)
    with pytest.raises(WorkloadError, match=r"workload\.model=.*none.*cannot be loaded|no such"):
        tiny_speech(pretrained=True, model=str(tmp_path / "none")).build(0)


def test_a_model_that_is_no_voice_is_not_made_one_at_random(tmp_path: Path) -> None:
    source = tiny_speech()
    voice.fresh(source._config).save_pretrained(tmp_path)
    voice.own_letters(source.alphabet).save_pretrained(tmp_path)
    found = tiny_speech(pretrained=True, model=str(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    trained = {n: t for n, t in weights.items() if not n.startswith("posterior_encoder")}
    save_file(trained, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found.build(0)  # what only training needs may be missing
    del trained["decoder.conv_pre.weight"]
    save_file(trained, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        WorkloadError, match=r"lacks 1 tensors of a VITS, such as decoder\.conv_pre"
    ):
        found.build(0)
    for config, problem in (("{}", "says None"), ('{"model_type": "gpt2"}', "says gpt2")):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(WorkloadError, match=problem):
            tiny_speech(pretrained=True, model=str(tmp_path)).build(0)
    broken = '{"model_type": "vits", "hidden_size": "wide"}'
    (tmp_path / "config.json").write_text(broken)
    with pytest.raises(WorkloadError, match=r"workload\.model=.* cannot be loaded"):
        tiny_speech(pretrained=True, model=str(tmp_path)).build(0)


def test_sparse_weights_leave_durations_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = tiny_speech()
    model: Any = workload.build(0)
    sparse = option("semi_structured_pruning")
    found: Any = sparse.convert(model, Setting(workload, copy.deepcopy(model), 0))
    assert {p.dtype for p in found.duration_predictor.parameters()} == {torch.float32}
    assert {p.dtype for p in found.decoder.parameters()} == {torch.bfloat16}


def test_an_architecture_that_is_none_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"workload\.architecture=.* is none of VITS"):
        tiny_speech({"upsample_rates": [8]}).build(0)


@pytest.mark.slow
def test_a_sweep_ends_with_records_and_audio_that_agree(tmp_path: Path) -> None:
    words = ("workload=speech", "technique=none,bf16", "protocol=rehearsal", "meter=none")
    small = "workload.architecture.upsample_initial_channel=32"
    done = run(tmp_path, "-m", *words, small, timeout_s=600)
    assert done.returncode == 0, done.stderr
    found = {path.parts[-3]: store.read(path) for path in records(tmp_path)}
    assert set(found) == {"none", "bf16"}
    same, halved = found["none"].quality, found["bf16"].quality
    assert (same.baseline, same.variant, same.low, same.high) == (0, 0, 0, 0)
    assert halved.variant < 0
    arm, kept = found["none"].baseline, tmp_path / "results" / ".artefacts"
    assert arm.exhibits == found["bf16"].baseline.exhibits
    heard_s = [samples / rate_hz for rate_hz, samples, _ in map(heard, wavs(kept, arm))]
    assert len(heard_s) == len(wavs(kept, found["bf16"].variant)) == 16
    assert arm.metrics["audio_s"] == pytest.approx(np.mean(heard_s))
    assert examination.examine(tmp_path / "results").count("error") == 0
