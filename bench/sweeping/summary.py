"""What has become of a sweep, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.interruption import REQUEUE
from bench.sweeping.outcomes import Outcome, Plan, duration, named, spent_words

_IN_WORDS = {
    "measured": "measured",
    "prepared": "prepared",
    "skipped": "measured already",
    "failed": "failed",
    "interrupted": "interrupted",
}


def summary(plan: Plan, found: Mapping[int, Outcome]) -> str:
    """Return how many points are done, and the names of those that need a look."""
    of = {kind: [o for o in found.values() if o.status == kind] for kind in _IN_WORDS}
    counts = [f"{len(group)} {_IN_WORDS[kind]}" for kind, group in of.items() if group]
    missing = [p.name for number, p in enumerate(plan.points) if number not in found]
    if missing:
        counts.append(f"{len(missing)} without an outcome")
    undecided = [o.name for o in found.values() if o.verdict == "undecided"]
    if undecided:
        counts.append(f"{len(undecided)} undecided")
    first = f"sweep: {len(plan.points)} points: {', '.join(counts) or 'nothing done'}"
    lines = ["; ".join([first, *spent_words(found.values())])]
    lines += _shared_trainings(found.values())
    lines += named([f"{o.name}: {o.why}" for o in of["failed"]], "failed")
    lines += named([o.name for o in of["interrupted"]], "interrupted")
    lines += named(missing, "without an outcome")
    lines += named(undecided, "undecided")
    if of["interrupted"] or missing:
        lines.append("  the same command goes on with what is left")
    elif of["failed"]:
        lines.append(
            "  failure.json in each place holds the traceback; the same command tries again"
        )
    return "\n".join(lines)


def exit_status(plan: Plan, found: Mapping[int, Outcome]) -> int:
    """Return 0 if all points are done, ``REQUEUE`` if some were interrupted, 1 if some failed."""
    statuses = [outcome.status for outcome in found.values()]
    if "interrupted" in statuses:
        return REQUEUE
    return int("failed" in statuses or len(found) < len(plan.points))


def _shared_trainings(found: Iterable[Outcome]) -> list[str]:
    """Say what it saves that baselines are trained once, if any two points share one."""
    each = [(o.baseline, o.baseline_train_s) for o in found if o.baseline_train_s is not None]
    once = dict(each)
    if len(once) == len(each):
        return []
    once_s, each_s = (sum(s or 0.0 for s in of) for of in (once.values(), [s for _, s in each]))
    return [
        f"  baselines: {len(once)} for {len(each)} pairs, trained in {duration(once_s)}; one for "
        f"each pair would take {duration(each_s)}"
    ]
