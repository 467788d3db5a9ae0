"""The sweep at a glance: a few figures, the machine's last hour, and what happened lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from bench.dashboard.data.sheets import Column, Sheet, clock
from bench.dashboard.data.system import System
from bench.dashboard.data.watching import Snapshot
from bench.flat import GRADES
from bench.reporting.cells import DASH, amount, seconds


@dataclass(frozen=True, slots=True)
class Card:
    """One figure.

    Attributes:
        key: Of its name in the strings; with ``_hint`` of what it means exactly.
        value: As it is shown, with its unit.
        said: Whether the value is a word of ours, which pages say in their language.
    """

    key: str
    value: str
    said: bool = False


def moment(snapshot: Snapshot) -> list[Card]:
    """Return the figures that change all the time."""
    sweeps = snapshot.sweeps
    done, points = sum(one.done for one in sweeps), sum(one.points for one in sweeps)
    ends_s = [one.ends_s for one in sweeps if one.ends_s is not None]
    spent = [f"{amount(energy_j, 'J')} ({grade})" for grade, energy_j in _spent(snapshot)]
    return [
        Card("active_runs", str(sum(one.state == "running" for one in snapshot.running))),
        Card("sweep_points", f"{done:,} / {points:,}" if sweeps else DASH),
        Card("sweep_ends", clock(max(ends_s), "%m-%d %H:%M") if ends_s else DASH),
        Card("sweep_joules", ", ".join(spent) or DASH),
        _state(snapshot.holder),
    ]


def cards(snapshot: Snapshot) -> list[Card]:
    """Return the figures of all pairs, which change when records are read."""
    pairs = snapshot.pairs
    return [
        Card("finished_pairs", f"{len(pairs):,}"),
        Card("failed_pairs", f"{len(snapshot.failures):,}"),
        Card("data_sets", str(_data_sets(pairs))),
        Card("mean_latency", _latency(pairs)),
        Card("joules_so_far", _joules(pairs)),
    ]


def events(snapshot: Snapshot) -> Sheet:
    """Return what happened lately, the newest first."""
    rows = [
        {
            "when": clock(event.at_s, "%Y-%m-%d %H:%M:%S"),
            "kind": event.kind,
            "host": event.host,
            "pair": event.id,
            "text": event.text,
            "folder": event.folder,
        }
        for event in snapshot.events
    ]
    return Sheet("events", COLUMNS, rows)


def samples(system: System) -> Sheet:
    """Return the machine's last hour as a table."""
    rows = []
    for sample in list(system.samples):  # another thread adds to them
        row: dict[str, object] = {
            "at": datetime.fromtimestamp(sample.at_s, UTC).isoformat(timespec="seconds"),
            "cpu": sample.cpu,
            "memory": sample.memory,
            "disk": sample.disk,
            "read_bytes_per_s": sample.read_bytes_per_s,
            "written_bytes_per_s": sample.written_bytes_per_s,
        }
        row |= {f"{name}_share": value for name, value in sample.gpu.items()}
        row |= {f"{name}_memory_share": value for name, value in sample.gpu_memory.items()}
        row |= {f"{name}_w": value for name, value in sample.power_w.items()}
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return Sheet("system", tuple(Column(name, name, literal=name) for name in names), rows)


def set_aside(snapshot: Snapshot) -> Sheet:
    """Return the documents that are no records, with the reason."""
    rows = [{"path": path.as_posix(), "reason": why} for path, why in snapshot.set_aside]
    return Sheet("set_aside", _SET_ASIDE, rows)


def _spent(snapshot: Snapshot) -> list[tuple[str, float]]:
    """Return the joules of sweeps under way, each grade for itself."""
    sums: dict[str, float] = {}
    for grade, energy_j in (part for sweep in snapshot.sweeps for part in sweep.spent):
        sums[grade] = sums.get(grade, 0.0) + energy_j
    return sorted(sums.items())


def _state(holder: str) -> Card:
    """Return what this host is at; who holds its lock need not say it."""
    if holder in ("", "?"):
        return Card("system_state", "a_measurement" if holder else "host_free", said=True)
    return Card("system_state", holder)


def _data_sets(pairs: pd.DataFrame) -> int:
    return int(pairs["data_json"].nunique())


def _latency(pairs: pd.DataFrame) -> str:
    """Return the mean of the variants' median latencies."""
    found = pairs["variant_latency_p50_s"].dropna()
    return DASH if found.empty else f"{seconds(1e3 * float(found.mean()))} ms"


def _joules(pairs: pd.DataFrame) -> str:
    """Return what making all models has taken, each model once and each grade for itself."""
    said = []
    for grade in GRADES:
        train = _once(pairs, "baseline_digest", f"train_energy_{grade.lower()}_j")
        optimise = _once(pairs, "variant_digest", f"optimise_energy_{grade.lower()}_j")
        if train + optimise > 0:
            said.append(f"{amount(train + optimise, 'J')} ({grade})")
    return ", ".join(said) or DASH


def _once(pairs: pd.DataFrame, digest: str, column: str) -> float:
    there = pairs[["host", digest, column]].dropna(subset=[column])
    return float(there.drop_duplicates(["host", digest])[column].sum())


COLUMNS = (
    Column("when", "when", words=True),
    Column("kind", "event", words=True, said=True),
    Column("host", "host", words=True),
    Column("pair", "pair_id", words=True, link="run"),
    Column("text", "what", words=True),
    Column("folder", "folder", words=True, page=False),
)
_SET_ASIDE = (
    Column("path", "file", words=True),
    Column("reason", "reason", words=True),
)
