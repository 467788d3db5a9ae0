"""The simulation behind paper/benchmarks/coverage.md: its truths, and what it says in small."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import campaigns, coverage
from benchmarks.coverage_table import Finding, Section, report


@pytest.mark.parametrize("spikes", [False, True])
def test_simulated_joules_lie_at_the_level_that_is_called_the_truth(spikes: bool) -> None:
    made = campaigns.campaigns(np.random.default_rng(1), 0.8, 4000, 8, spikes)
    for joules, truth in ((made.baseline, made.level), (made.variant, 0.8 * made.level)):
        sessions = joules.mean(axis=(1, 2))
        assert sessions.mean() == pytest.approx(truth, abs=4 * stats.sem(sessions))
    assert made.own_level.mean() == pytest.approx(made.level, abs=4 * stats.sem(made.own_level))
    # What is left between a session and its own level is noise of single windows.
    left = made.baseline.mean(axis=(1, 2)) / made.own_level
    assert left.std() < 0.01 < made.own_level.std()


def test_slow_noise_keeps_its_spread_and_hands_nine_tenths_on() -> None:
    noise = campaigns.slow_noise(np.random.default_rng(2), 20_000, 30)
    assert noise[:, 0].std() == pytest.approx(0.02, rel=0.02)
    assert noise[:, -1].std() == pytest.approx(0.02, rel=0.02)
    assert np.corrcoef(noise[:, -2], noise[:, -1])[0, 1] == pytest.approx(0.9, abs=0.006)


def test_blocks_are_mirrored_in_turn_from_either_start() -> None:
    orders = campaigns.orders(np.random.default_rng(3), 50, 3, interleaved=True)
    texts = {"".join("AB"[int(is_variant)] for is_variant in session) for session in orders}
    assert texts == {"ABBABAABABBA", "BAABABBABAAB"}
    assert campaigns.orders(np.random.default_rng(3), 1, 2, interleaved=False).tolist() == [
        [False] * 4 + [True] * 4
    ]


def test_the_exact_coverage_is_that_of_simulated_tables() -> None:
    # At some 16 discordant examples of 408, by drawing tables instead of summing over them.
    rng = np.random.default_rng(4)
    hits = []
    for lost, gained, _ in rng.multinomial(408, (0.025, 0.015, 0.96), size=4000):
        low, high = coverage.tango_interval(int(lost), int(gained), 408)
        hits.append(low <= -0.01 <= high)
    share, error = coverage.share(hits)
    assert coverage.tango_coverage(408, 0.025, 0.015) == pytest.approx(share, abs=4 * error)


def test_small_campaigns_show_what_the_table_shows() -> None:
    plan = coverage.Plan(repeats=300, sweeps=100, seed=5)
    found = {
        finding.what: finding
        for rows in (coverage.ratio_rows, coverage.break_even_rows, coverage.sweep_rows)
        for finding in rows(plan, np.random.default_rng(6), lambda what: None)
    }
    assert 0.91 <= found["ABBA/BAAB, 8 blocks, spikes"].figure <= 1.0
    assert found["all A, then all B, 20 blocks"].figure < 0.4
    assert 0.90 <= found["5 seeds of 8 blocks, spikes, uncertain costs"].figure <= 0.99
    sweeps = found["1 record a technique, 8 blocks each"]
    assert sweeps.figure <= 0.1
    assert float(sweeps.beside[0].split()[0]) > sweeps.figure


def test_a_share_has_the_binomial_standard_error() -> None:
    assert coverage.share([True] * 3 + [False]) == (0.75, math.sqrt(0.75 * 0.25 / 4))


def test_a_bar_that_is_missed_is_named_at_the_end() -> None:
    rows = [
        Finding("good", 0.95, 0.002, (0.94, 0.96), ("1 %", "2 %")),
        Finding("bad", 0.97, None, (0.94, 0.96), ("1 %", "2 %")),
        Finding("biased", 0.95, None, (0.94, 0.96), ("1 %", "2 %"), holds=False),
        Finding("beside", 0.5, None, None, ("1 %", "2 %")),
    ]
    lines = report([Section("tango", rows)], 10, 10, 0).splitlines()
    assert "`python -m benchmarks.coverage`" in lines[0]
    assert "| good | 1 % | 2 % | 0.950 ± 0.002 | 0.94 to 0.96 | holds |" in lines
    assert "| bad | 1 % | 2 % | 0.970 | 0.94 to 0.96 | FAILS |" in lines
    assert "| beside | 1 % | 2 % | 0.500 |  |  |" in lines
    assert lines[-1] == "1 of 3 bars hold; these fail: bad; biased."


def test_a_bias_beyond_a_tenth_of_a_percent_misses_the_bar() -> None:
    for bias, verdict in ((0.0009, "holds"), (0.0011, "FAILS")):
        ratio = coverage.RATIO * math.exp(bias)
        covered, missed = (ratio, 0.7, 0.9), (ratio, 0.9, 1.0)
        finding = coverage.coverage("x", [covered] * 20 + [missed], (0.93, 0.97))
        assert finding.figure == pytest.approx(20 / 21)
        assert finding.verdict() == verdict
