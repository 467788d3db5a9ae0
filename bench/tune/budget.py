"""How much of a search's budget is used up, and how long the rest will take."""

from __future__ import annotations

from bench.search import Search, SearchError
from bench.tune.settings import Budget

_HOUR_S = 3600.0


def used_up(budget: Budget, search: Search, running: int) -> str | None:
    """Return what is used up, ``None`` while another trial may begin.

    Args:
        budget: Of all workers together.
        search: What is finished.
        running: Trials that are under way.

    Raises:
        SearchError: The budget is in joules, and those spent so far are not known.
    """
    begun = len(search.tried) + running
    if budget.trials is not None and begun >= budget.trials:
        return f"{len(search.tried)} of {budget.trials} trials are finished"
    if budget.hours is not None and search.wall_s >= budget.hours * _HOUR_S:
        return f"{search.wall_s / _HOUR_S:.3g} of {budget.hours:g} hours are used up"
    if budget.joules is not None and (spent_j := _joules(search)) >= budget.joules:
        return f"{spent_j:.4g} of {budget.joules:g} J are used up"
    return None


def seconds_left(budget: Budget, search: Search, workers: int) -> float | None:
    """Return about how many seconds the search goes on; ``None`` before anything is known.

    As long as the trials so far were: of several limits the first that will be met.

    Args:
        budget: Of all workers together.
        search: What is finished.
        workers: At work, this one included.
    """
    if not search.tried:
        return None
    done, spent_s = len(search.tried), search.wall_s
    left_s = []
    if budget.trials is not None:
        left_s.append((budget.trials - done) * spent_s / done)
    if budget.hours is not None:
        left_s.append(budget.hours * _HOUR_S - spent_s)
    if budget.joules is not None and (spent_j := search.energy_j):
        left_s.append((budget.joules - spent_j) * spent_s / spent_j)
    return max(0.0, min(left_s)) / max(1, workers) if left_s else None


def _joules(search: Search) -> float:
    if search.measure != "energy_j":
        raise SearchError(
            "tuner.budget.joules needs an energy counter, and this search goes by seconds: give "
            "tuner.budget.trials or tuner.budget.hours"
        )
    if not search.tried:
        return 0.0
    if (spent_j := search.energy_j) is None:
        raise SearchError(
            f"tuner.budget.joules: what search {search.name} has spent is not known, since a "
            f"reading of {search.source} failed: go on with tuner.budget.joules=null and a number "
            f"of trials or hours"
        )
    return spent_j
