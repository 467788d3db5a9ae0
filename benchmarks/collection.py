"""What the plugin costs a project that never asks for it: collecting 1,000 tests.

    python -m benchmarks.collection          60 blocks, about four minutes
    python -m benchmarks.collection 2        does it work? prints, and writes no file

With the plugin and without it in turns (ABBA, BAAB): CPU-seconds of `pytest --collect-only`. The
plugin must be installed (`pip install -e '.[ci]'`): else there is nothing to compare.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np

from bench.ci.instruments import host_class
from bench.statistics.ratios import paired_ratio

OUT = Path(__file__).parents[1] / "paper" / "benchmarks" / "collection.md"
TESTS = 1_000
BLOCKS = 60
BAR = 1.02
PLUGIN = ("joules", "joulebench_pytest")


def spent_s(folder: Path, *words: str) -> float:
    """Return the CPU-seconds of one collection."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    subprocess.run([*command, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(blocks: int) -> None:
    """Measure, print and write the ratio."""
    if PLUGIN not in {(entry.name, entry.value) for entry in entry_points(group="pytest11")}:
        raise SystemExit("this checkout's plugin is not installed: pip install -e '.[ci]'")
    without = ("-p", f"no:{PLUGIN[0]}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = "\n".join(f"def test_{number}():\n    pass\n" for number in range(TESTS))
        (folder / "test_many.py").write_text(body)
        (folder / "pytest.ini").write_text("[pytest]\n")
        spent_s(folder), spent_s(folder, *without)  # compiled files are there from now on
        baseline, variant = np.empty((blocks, 2)), np.empty((blocks, 2))
        for block in range(blocks):
            taken: dict[bool, list[float]] = {False: [], True: []}
            first = block % 2 == 1
            for loaded in (first, not first, not first, first):
                taken[loaded].append(spent_s(folder, *(() if loaded else without)))
            baseline[block], variant[block] = taken[False], taken[True]
    found = paired_ratio(baseline, variant)
    verdict = "holds" if found.high <= BAR else "FAILS" if found.low > BAR else "undecided"
    text = (
        "# The plugin where nobody asks for it, by `python -m benchmarks.collection`\n\n"
        f"`pytest --collect-only` of {TESTS:,} tests, with the plugin over without "
        f"(`-p no:joules`): {found.ratio:.4f} [{found.low:.4f}, {found.high:.4f}] of "
        f"{found.baseline_per_item:.2f} CPU-seconds, {blocks} blocks in turns; bar {BAR:g}: "
        f"{verdict}. {host_class()}; pytest {version('pytest')}, {os.cpu_count()} cores.\n"
    )
    print(text)
    if blocks >= BLOCKS:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else BLOCKS)
