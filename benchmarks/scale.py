"""How long a report takes of 1,000, 10,000 and 100,000 pairs, and how much memory.

    python -m benchmarks.scale                       # some ten minutes, 3 GB below TMPDIR
    python -m benchmarks.scale counts=1000,10000 out=FILE repeats=3

Records are made up (``benchmarks.many``) and lie where the store puts them; among them are a few
that are none: cut off, foreign, of a future schema, with a NaN, not UTF-8, a folder. Each figure is
of a fresh process, from its start to its end, imports included: ``aggregate`` reads the folder and
pools all pairs into rows, ``report`` is ``python -m bench.report -q``. Cold has no cache, but the
documents are in the page cache, since they were just written.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "paper" / "benchmarks" / "scale.md"
COUNTS = "1000,10000,100000"
BYTES_A_RECORD = 40_000
"""On disk: 21 kB, rounded up to blocks, and a folder."""

SETTLE_S = 3.0
"""What has just been written is not believed to stay as it is: see ``bench.collection``."""

WARM_S, COLD_S, OF = 3.0, 60.0, 100_000
"""The bars: seconds to aggregate so many pairs, from the cache and from JSON."""

GROWTH = 1.5
"""Seconds per pair that a tenfold number may take, as a multiple."""

Row = dict[str, Any]


def aggregate(root: Path) -> Row:
    """Read a folder and pool its pairs; return what was found and what each part took."""
    started = time.perf_counter()
    from bench import collection
    from bench.reporting import rows

    imported = time.perf_counter()
    found = collection.read(root)
    read = time.perf_counter()
    pooled = rows.rows(found.pairs)
    origin = rows.origin(found.pairs)
    done = time.perf_counter()
    return {
        "pairs": len(found.pairs),
        "rows": len(pooled),
        "origin": origin,
        "set_aside": {path.as_posix(): reason for path, reason in found.set_aside},
        "import_s": imported - started,
        "read_s": read - imported,
        "pool_s": done - read,
    } | memory()


def memory() -> Row:
    """Return the peak resident memory of this process and of its greatest child, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    who = {"own_bytes": resource.RUSAGE_SELF, "child_bytes": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(which).ru_maxrss * unit for name, which in who.items()}


def timed(command: list[str]) -> Row:
    """Run a fresh Python; return its seconds and the JSON of its last line."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def measure(count: int, repeats: int, scratch: Path) -> Row:
    """Generate so many records and return what reading and reporting them takes."""
    from benchmarks import many  # here, since what is timed shall not import it

    root, paper = scratch / "results", scratch / "paper"
    many.write(root, count)
    time.sleep(SETTLE_S)
    whole = next(path for path in root.rglob("record.json")).read_text(encoding="utf-8")
    broken = many.spoil(root, whole)
    child = ["-m", "benchmarks.scale", f"child={root}"]
    cold = timed(child)
    warm = [timed(child) for _ in range(repeats)]
    report = timed(["-m", "benchmarks.scale", f"report={root}", f"paper={paper}"])
    check(count, broken, [cold, *warm])
    best = min(warm, key=lambda row: float(row["seconds"]))
    size = sum(path.stat().st_size for path in root.rglob("record.json") if path.is_file())
    cache = sum(path.stat().st_size for path in root.glob(".*.parquet"))
    shutil.rmtree(root)
    shutil.rmtree(paper)
    spread = statistics.median(row["seconds"] for row in warm)
    return {
        "count": count,
        "json_bytes": size,
        "cache_bytes": cache,
        "cold": cold,
        "warm": best,
        "warm_median_s": spread,
        "report": report,
        "broken": broken,
    }


def check(count: int, broken: dict[str, str], found: list[Row]) -> None:
    """Make sure that all good ones were read, all others named, and always alike."""
    for row in found:
        if row["pairs"] != count or row["origin"] != found[0]["origin"]:
            sys.exit(f"{row['pairs']} of {count} pairs were read: {row['origin']}")
        if set(row["set_aside"]) != set(broken):
            sys.exit(f"set aside: {row['set_aside']}, should be: {broken}")
        for path, reason in broken.items():
            if reason not in row["set_aside"][path]:
                sys.exit(f"{path} was set aside for {row['set_aside'][path]!r}, not {reason!r}")


def report(root: Path, paper: Path) -> Row:
    """Run the report command in this process."""
    from bench import report as command

    status = command.main([f"store.root={root}", f"paper.root={paper}", "-q"])
    if status:
        sys.exit(status)
    return memory()


def table(found: list[Row]) -> str:
    """Return the findings as Markdown, held against the bars."""
    libraries = ", ".join(f"{n} {version(n)}" for n in ("pandas", "pyarrow", "numpy"))
    broken = found[-1]["broken"]
    lines = [
        "# A report of many pairs",
        "",
        f"Made by `python -m benchmarks.scale` on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, {libraries}. Records are made up, "
        f"{found[-1]['json_bytes'] / found[-1]['count'] / 1e3:.0f} kB each, and any figure in them "
        "too. Seconds of a fresh process from start to end, imports included; memory is its peak "
        "(and that of the greatest process that helped it to read).",
        "",
        "| pairs | rows | JSON | cache | aggregate, from JSON | aggregate, from the cache "
        "| of it reading | pooling | whole report, from the cache |",
        "|" + "---:|" * 9,
        *(_line(row) for row in found),
        "",
        "Aggregating is reading all pairs and pooling them into the rows that tables and figures "
        "are made of. From the cache the best of several runs; the median is "
        + ", ".join(f"{row['warm_median_s']:.2f} s" for row in found)
        + ".",
        "",
        f"Among the records lay {len(broken)} documents that are none. In every run all of them "
        "were named and the rest was read:",
        "",
        *(f"- `{path}`: {found[-1]['cold']['set_aside'][path]}" for path in sorted(broken)),
        "",
        "## Bars",
        "",
        *_bars(found),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cells = [
        f"{row['count']:,}",
        f"{row['warm']['rows']:,}",
        f"{row['json_bytes'] / 1e6:,.0f} MB",
        f"{row['cache_bytes'] / 1e6:,.1f} MB",
        _cost(row["cold"]),
        _cost(row["warm"]),
        f"{row['warm']['read_s']:.2f} s",
        f"{row['warm']['pool_s']:.2f} s",
        _cost(row["report"]),
    ]
    return f"| {' | '.join(cells)} |"


def _cost(run: Row) -> str:
    child = f" + {run['child_bytes'] / 1e6:,.0f} MB" if run["child_bytes"] > 1e7 else ""
    return f"{run['seconds']:.2f} s, {run['own_bytes'] / 1e6:,.0f} MB{child}"


def _bars(found: list[Row]) -> list[str]:
    lines = []
    for row in found:
        if row["count"] == OF:
            for what, run, bar in (("the cache", "warm", WARM_S), ("JSON", "cold", COLD_S)):
                lines.append(_held(f"{OF:,} pairs from {what}", row[run]["seconds"], bar, " s"))
    for less, more in itertools.pairwise(found):
        for run in ("cold", "warm"):
            each = [
                (row[run]["read_s"] + row[run]["pool_s"]) / row["count"] for row in (less, more)
            ]
            what = f"seconds a pair, {run}, {more['count']:,} against {less['count']:,}"
            lines.append(_held(what, each[1] / each[0], GROWTH, " times"))
    return lines


def _held(what: str, found: float, bar: float, unit: str) -> str:
    return f"- {'holds' if found < bar else 'FAILS'}: {what}: {found:.2f}{unit}, bar {bar:g}{unit}"


def main(words: list[str]) -> None:
    """Measure and write the table, or do one task in this process."""
    options = {"counts": COUNTS, "repeats": "5"} | dict(word.split("=", 1) for word in words)
    if "child" in options:
        print(json.dumps(aggregate(Path(options["child"]))))
        return
    if "report" in options:
        print(json.dumps(report(Path(options["report"]), Path(options["paper"]))))
        return
    counts = [int(count) for count in options["counts"].split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        free = shutil.disk_usage(scratch).free
        if free < max(counts) * BYTES_A_RECORD:
            sys.exit(
                f"{scratch} has {free / 1e9:.1f} GB free, {max(counts):,} records need "
                f"{max(counts) * BYTES_A_RECORD / 1e9:.1f}: give another disk with TMPDIR=DIR"
            )
        found = [measure(count, int(options["repeats"]), Path(scratch)) for count in counts]
    out = Path(options.get("out", OUT))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text := table(found), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
