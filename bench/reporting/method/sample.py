"""What was compared: techniques, workloads, seeds, sessions, and how both arms were served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bench.reporting.method.documents import distinct, documents
from bench.reporting.prose import Paragraph, Section, counted, listed, paragraph, section
from bench.reporting.rows import BASELINE

DESCRIBED_VERSION = 1
"""Of the measuring code that this section describes (``bench.measurement.version``)."""

_MODES = {
    "eager": "runs both arms eagerly",
    "compile": "compiles both arms with torch.compile for static shapes",
}


def described(pairs: pd.DataFrame) -> Section | None:
    """Return what the pairs are."""
    return section("Pairs", _compared(pairs), _repeated(pairs), _served(pairs), _recipes(pairs))


def _compared(pairs: pd.DataFrame) -> Paragraph:
    floors = pairs["technique"] == BASELINE
    labels = sorted(pairs["label"][~floors].unique())
    workloads = listed(sorted(pairs["workload"].unique()))
    hosts = counted(pairs["host"].nunique(), "host")
    variants = floored = None
    if labels:
        variants = (
            f"{counted(int((~floors).sum()), 'pair')} of a baseline and an optimised variant "
            f"({listed(labels)}) of {workloads} {_were(~floors)} measured on {hosts}"
        )
    if floors.any():
        of = "" if labels else f" of {workloads} on {hosts}"
        floored = (
            f"{counted(int(floors.sum()), 'pair')}{of} {'holds' if floors.sum() == 1 else 'hold'} "
            "the baseline against itself (A/A): the interval of that ratio is what the host cannot "
            "tell from nothing"
        )
    return paragraph(variants, floored, _version(pairs))


def _were(which: pd.Series[bool]) -> str:
    return "was" if which.sum() == 1 else "were"


def _version(pairs: pd.DataFrame) -> str | None:
    others = sorted(set(pairs["measuring_version"].unique()) - {DESCRIBED_VERSION})
    if not others:
        return None
    old = pairs["measuring_version"].isin(others)
    return (
        f"{counted(int(old.sum()), 'pair')} {_were(old)} measured by version "
        f"{listed(map(str, others))} of the measuring code; what follows describes version "
        f"{DESCRIBED_VERSION}"
    )


def _repeated(pairs: pd.DataFrame) -> Paragraph:
    seeds = sorted(pairs["seed"].unique())
    noun = "seed" if len(seeds) == 1 else "seeds"
    first, last = (str(moment)[:10] for moment in (pairs["started"].min(), pairs["started"].max()))
    when = f"on {first}" if first == last else f"between {first} and {last}"
    repeats = pairs.groupby(["host", "workload", "label", "seed", "protocol_json", "runtime_json"])
    most = int(repeats.size().max())
    again = "none was measured twice" if most == 1 else f"some were measured {most:,} times"
    made = [counted(pairs["baseline_digest"].nunique(), "baseline")]
    optimised = pairs["variant_digest"][pairs["technique"] != BASELINE].nunique()
    made += [counted(optimised, "variant")] if optimised else []
    return paragraph(
        f"Data order, initialisation, augmentation and block order follow the {noun} "
        f"{listed(map(str, seeds))}; {listed(made)} took part",
        f"A pair is measured in one session; they began {when} (UTC), and {again}",
        _artefacts(pairs),
        _spent(pairs),
    )


def _artefacts(pairs: pd.DataFrame) -> str:
    exact, total = int(pairs["reload_exact"].sum()), len(pairs)
    text = (
        "What is measured is what is evaluated: the saved artefact, loaded anew; a fresh process "
        "that loads the variant's "
    )
    if exact == total:
        return f"{text}repeats its answers exactly in every pair"
    return f"{text}repeats its answers exactly in {exact:,} of {counted(total, 'pair')}"


def _spent(pairs: pd.DataFrame) -> str | None:
    if pairs["optimise_wall_s"].isna().all():
        return None
    return (
        "What a technique costs before the first inference (preparing, fine-tuning, converting) "
        "is metered in the same way and charged to the variant"
    )


def _served(pairs: pd.DataFrame) -> Paragraph:
    cuda = any(facts.get("cuda") for facts in distinct(pairs, "served_on_json"))
    return paragraph(
        "Both arms of a pair stand in one process on one device under the same runtime",
        *(_runtime(settings, cuda) for settings in distinct(pairs, "runtime_json")),
    )


def _runtime(settings: dict[str, Any], cuda: bool) -> str | None:
    name, mode = settings.get("name"), _MODES.get(str(settings.get("mode")))
    if name is None or mode is None:
        return None
    return f"Runtime {name} {mode}{''.join(_details(settings, cuda))}"


def _details(settings: dict[str, Any], cuda: bool) -> Iterator[str]:
    if settings.get("mode") == "compile":
        if settings.get("freezing"):
            yield ", weights frozen into the graph"
        yield "; what compiling takes is kept apart"
    if settings.get("memory_format") == "channels_last":
        yield "; images lie channels-last in memory"
    if cuda and "tf32" in settings:
        yield f"; TF32 is {'on' if settings['tf32'] else 'off'}"


def _recipes(pairs: pd.DataFrame) -> Paragraph:
    """Return batch, data and training of each workload; of a null recipe nothing is known."""
    items = []
    for recipe, group in documents(pairs, "recipe_json"):
        served, training = recipe.get("workload") or {}, recipe.get("training") or {}
        said = [
            f"data {served['dataset']}" if served.get("dataset") else "",
            f"served in batches of {served['batch_size']}" if served.get("batch_size") else "",
        ]
        if training and group["train_wall_s"].notna().any():
            said.append(f"trained with {_knobs(training)}")
        if any(said):
            items.append(f"{group['workload'].iloc[0]}: {'; '.join(filter(None, said))}")
    return paragraph("The workloads" if items else None, items=sorted(items))


def _knobs(training: Mapping[str, Any]) -> str:
    """Return the knobs of a training that say something: neither off, nor null, nor unused."""
    said = []
    for name, value in sorted(training.items()):
        unused = name == "momentum" and training.get("optimizer") not in (None, "sgd")
        if name.startswith("_") or unused or not isinstance(value, str | int | float):
            continue
        knob = name.replace("_", " ")
        if isinstance(value, bool):
            said += [knob] if value else []
        else:
            said.append(f"{knob} {value:g}" if isinstance(value, float) else f"{knob} {value}")
    return ", ".join(said)
