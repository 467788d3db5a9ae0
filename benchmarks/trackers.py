"""CodeCarbon, zeus, experiment-impact-tracker and our counters beside each other, under the rig.

    python -m benchmarks.trackers            # 60 s per profile, writes paper/benchmarks/trackers.md

All of them watch the same phase: one busy core under simulated RAPL whose true energy is known in
closed form. The rig lies beside the checkout; `make impact-tracker` sets up the third of them.
What comes out is synthetic (grade S): it tests meters and says nothing of any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.meters import Meters
from bench.meters.codecarbon import CodeCarbon
from bench.meters.counters import Counters
from bench.meters.impact_tracker import ImpactTracker, joules

ROOT = Path(__file__).parents[1]
RIG = ROOT.parent / "shared" / "rig"
OUT = ROOT / "paper" / "benchmarks" / "trackers.md"
PROFILES = {"constant 50 W": "constant:50", "20/100 W at 1 Hz": "square:20,100,1"}
LIMIT = 0.01
"""Share of the truth within which a tracker should lie."""

WHOLE, SHARE = "rapl_power_draw_absolute", "average_relative_cpu_utilization"
COUNTERS, CODECARBON, ZEUS = "our counters", "CodeCarbon", "zeus' ZeusMonitor"
EIT, EIT_WHOLE = "experiment-impact-tracker, published", "the same, whole machine"
HOW = {
    COUNTERS: "RAPL at both ends",
    CODECARBON: "RAPL every second",
    ZEUS: "RAPL at both ends",
    EIT: "RAPL over 2 s of every 3 s, times the share of used CPU time",
    EIT_WHOLE: "RAPL over 2 s of every 3 s",
}


def busy(seconds: float) -> None:
    """Keep one core busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def inside(seconds: float) -> dict[str, Any]:
    """Measure one phase with all of them; runs under the rig."""
    from rapl_truth import Truth  # the rig puts it on the path
    from zeus.monitor import ZeusMonitor

    tracker = ImpactTracker()
    zeus = ZeusMonitor(gpu_indices=[], cpu_indices=[0])
    with Meters((Counters(), tracker, CodeCarbon("USA")), required=True) as meters:
        start = meters.read(slowest_first=True)
        zeus.begin_window("phase", sync_execution=False)
        begun_s, begun_epoch_s = time.monotonic(), time.time()
        busy(seconds)
        ended_s, ended_epoch_s = time.monotonic(), time.time()
        window = zeus.end_window("phase", sync_execution=False)
        end = meters.read(slowest_first=False)
        read = {(r.meter, r.component): r for r in meters.between(start, end)}
        rows = [r for r in tracker.rows if begun_epoch_s < r["timestamp"] < ended_epoch_s]
        whole_j = joules(tracker.rows, WHOLE, begun_epoch_s, ended_epoch_s)
    return {
        "true_j": Truth().joules(begun_s, ended_s),
        "joules": {
            COUNTERS: read["counters", "cpu:0"].energy_j,
            CODECARBON: read["codecarbon", "cpu"].energy_j,
            ZEUS: window.cpu_energy[0],
            EIT: read["impact_tracker", "cpu"].energy_j,
            EIT_WHOLE: whole_j,
        },
        "reasons": {f"{r.meter}/{r.component}": r.reason for r in read.values() if r.reason},
        "share": statistics.fmean(row[SHARE] for row in rows),
    }


def rigged(profile: str, seconds: float, rig: Path) -> dict[str, Any]:
    """Run ``inside`` under one profile."""
    command = [sys.executable, "-B", str(rig / "rapl_rig.py"), "--power", profile, "--no-net", "--"]
    command += [sys.executable, "-m", "benchmarks.trackers", "--inside", f"--seconds={seconds:g}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not lines:
        raise SystemExit(f"nothing was measured under {profile}; see above for why")
    return dict(json.loads(lines[-1].removeprefix("FOUND ")))


def table(found: Mapping[str, Mapping[str, Any]], seconds: float) -> str:
    """Return the report in Markdown."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("codecarbon", "zeus"))
    lines = [
        "# Trackers beside each other on one phase",
        "",
        f"`python -m benchmarks.trackers`: one busy core for {seconds:g} s under simulated RAPL,"
        " all trackers in the same run. Synthetic (grade S): the truth is the closed form of the"
        f" simulated power. {versions}, experiment-impact-tracker 0.1.8, Python"
        f" {platform.python_version()}, {os.cpu_count()} cores.",
        "",
        f"| tracker | how | {' | '.join(f'{name}: J | error' for name in found)} | within 1 % |",
        "|---|---|" + "--:|--:|" * len(found) + "---|",
    ]
    true = " | ".join(f"{one['true_j']:.1f} | " for one in found.values())
    lines.append(f"| truth | closed form | {true} | |")
    for name, how in HOW.items():
        cells, errors = [], []
        for one in found.values():
            energy_j = one["joules"][name]
            if energy_j is None:
                cells.append("— | —")
                continue
            errors.append(energy_j / one["true_j"] - 1)
            cells.append(f"{energy_j:.1f} | {errors[-1]:+.2%}")
        within = len(errors) == len(found) and all(abs(error) <= LIMIT for error in errors)
        lines.append(f"| {name} | {how} | {' | '.join(cells)} | {'yes' if within else 'no'} |")
    return "\n".join([*lines, "", *why(found), ""])


def why(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what explains the figures that are off."""
    shares = " and ".join(f"{one['share']:.1%} ({name})" for name, one in found.items())
    lacking = [
        one["joules"][EIT] / (one["joules"][EIT_WHOLE] * one["share"]) - 1
        for one in found.values()
        if one["joules"][EIT] is not None
    ]
    rest = " and ".join(f"{share:+.1%}" for share in lacking)
    lines = [
        "experiment-impact-tracker publishes the measured processes' share: power times their share"
        f" of all CPU time that was used, here {shares} on average, its own process among them."
        " What else the machine did meanwhile is taken off, with that part of the package's power"
        " at rest. That is another question than the counters answer, and no error of the counter"
        " below: the line of the whole machine, of the same samples, has no such factor, and the"
        f" published figure differs from that line times the share by {rest}.",
    ]
    for name, one in found.items():
        lines += [f"Missing under {name}: {k}: {v}." for k, v in one["reasons"].items()]
    return lines


def main() -> None:
    """Measure every profile, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the phase")
    parser.add_argument("--rig", type=Path, default=RIG, help="folder of rapl_rig.py")
    parser.add_argument("--out", type=Path, default=OUT, help="where the table goes")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print("FOUND " + json.dumps(inside(options.seconds)))
        return
    if not (options.rig / "rapl_rig.py").exists():
        raise SystemExit(f"--rig={options.rig}: no rapl_rig.py, which simulates RAPL, is there")
    found = {name: rigged(p, options.seconds, options.rig) for name, p in PROFILES.items()}
    text = table(found, options.seconds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
