"""RAPL on plain files whose joules are known: zones, wraps, and everything that can go wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.meters import Channel, Counts, MeterError, difference
from bench.meters.counters import Counters, rapl
from bench.meters.counters.tally import Tally

RANGE_UJ = 262_143_328_850  # what the kernel says of a counter of 32 bits of 61 uJ


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPL_RIG", raising=False)


def zone(root: Path, path: str, name: str, energy_j: float = 10.0, **files: object) -> Path:
    """Make a zone; ``path`` may lead through others."""
    folder = root / path
    folder.mkdir(parents=True)
    given = {"name": name, "max_energy_range_uj": RANGE_UJ, "energy_uj": round(energy_j * 1e6)}
    for file, text in (given | files).items():
        (folder / file).write_text(f"{text}\n")
    return folder


def put(folder: Path, energy_j: float) -> None:
    (folder / "energy_uj").write_text(f"{round(energy_j * 1e6)}\n")


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counters]:
    """Return the meter over the zones below ``tmp_path``, without any GPU."""

    def none(missing: dict[str, str]) -> list[Any]:
        return []

    monkeypatch.setattr("bench.meters.counters.devices.gpus", none)
    monkeypatch.setattr("bench.meters.counters.devices.chips", none)
    monkeypatch.setattr(rapl, "ROOTS", (tmp_path,))
    meter = Counters()
    yield meter
    meter.close()


def joules(
    channels: tuple[Channel, ...], start: Counts, end: Counts
) -> dict[str, float | str | None]:
    """Return joules, or the reason, of each component."""
    readings = difference("counters", channels, start, end)
    return {r.component: r.reason if r.energy_j is None else r.energy_j for r in readings}


def test_packages_and_their_dram_are_counted_and_neither_parts_nor_the_platform(
    tmp_path: Path, counters: Counters
) -> None:
    for number, package in enumerate(("package-0", "package-1")):
        zone(tmp_path, f"intel-rapl:{number}", package, 100.0)
        for part, name in enumerate(("core", "uncore", "dram")):
            zone(tmp_path, f"intel-rapl:{number}/intel-rapl:{number}:{part}", name, 1.0)
    zone(tmp_path, "intel-rapl:2", "psys", 900.0)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 100.0)  # the first one, by another way
    channels = counters.open()
    found = {c.component: Path(c.detail["zone"]).name for c in channels}
    assert found == {
        "cpu:0": "intel-rapl:0",
        "dram:0": "intel-rapl:0:2",
        "cpu:1": "intel-rapl:1",
        "dram:1": "intel-rapl:1:2",
    }
    assert {(c.source, c.grade, c.step_s) for c in channels} == {("rapl", "B", 0.001)}
    assert counters.missing == {}


def test_a_span_is_the_rise_of_each_counter(tmp_path: Path, counters: Counters) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 100.0)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7.0)
    channels = counters.open()
    start = counters.read()
    put(first, 112.5)
    put(second, 7.25)
    assert joules(channels, start, counters.read()) == {"cpu:0": 12.5, "cpu:1": 0.25}


def test_a_counter_that_stands_still_reads_as_no_joules(tmp_path: Path, counters: Counters) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    channels = counters.open()
    assert joules(channels, counters.read(), counters.read()) == {"cpu:0": 0.0}


def test_the_flat_folder_and_the_tree_of_a_container_show_the_same_zones(
    tmp_path: Path, counters: Counters
) -> None:
    zone(tmp_path, "intel-rapl/intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl/intel-rapl:0/intel-rapl:0:1", "dram")
    tree = rapl.discover({}, [tmp_path])
    for name in ("intel-rapl:0", "intel-rapl/intel-rapl:0/intel-rapl:0:1"):
        (tmp_path / name.rpartition("/")[2]).symlink_to(
            tmp_path / "intel-rapl" / name.removeprefix("intel-rapl/")
        )
    flat = rapl.discover({}, [tmp_path])
    assert [z.component for z in tree] == [z.component for z in flat] == ["cpu:0", "dram:0"]
    assert flat[1].folder == tmp_path / "intel-rapl:0:1"


def test_the_container_mount_is_used_where_the_host_folder_is_empty(tmp_path: Path) -> None:
    zone(tmp_path / "zeus_sys", "intel-rapl/intel-rapl:0", "package-0")
    (found,) = rapl.discover({}, [tmp_path / "sys", tmp_path / "zeus_sys"])
    assert found.folder == tmp_path / "zeus_sys/intel-rapl/intel-rapl:0"


def test_dies_are_packages_and_one_counter_shown_twice_is_counted_once(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0-die-0", energy_j=10.0)
    zone(tmp_path, "intel-rapl:1", "package-0-die-1", energy_j=812.5)
    zone(tmp_path, "intel-rapl:2", "package-0-die-0", energy_j=10.0)
    missing: dict[str, str] = {}
    found = {z.component: (z.name, z.mirrors) for z in rapl.discover(missing, [tmp_path])}
    assert found == {
        "cpu:0": ("package-0-die-0", (str(tmp_path / "intel-rapl:2"),)),
        "cpu:1": ("package-0-die-1", ()),
    }
    assert missing["dram:1"].endswith("has no dram zone: this CPU does not count its DRAM")


def test_dies_of_which_each_shows_the_sockets_counter_are_counted_once(tmp_path: Path) -> None:
    """As of AMD's Threadripper 1950X and Epyc 7001: 68 W were counted as 137."""
    for number, (name, energy_j) in enumerate(
        [
            *(("package-0-die-0", 5000.0), ("package-0-die-1", 5000.2)),
            *(("package-1-die-0", 5000.1), ("package-1-die-1", 5000.3)),
        ]
    ):
        zone(tmp_path, f"intel-rapl:{number}", name, energy_j=energy_j)
    found = {z.component: (z.name, z.mirrors) for z in rapl.discover({}, [tmp_path])}
    assert found == {
        "cpu:0": ("package-0-die-0", (str(tmp_path / "intel-rapl:1"),)),
        "cpu:1": ("package-1-die-0", (str(tmp_path / "intel-rapl:3"),)),
    }


def test_dram_zones_beside_the_packages_belong_to_them_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(("package-0", "dram", "package-1", "dram")):
        zone(tmp_path, f"intel-rapl:{number}", name)
    found = {z.component: z.folder.name for z in rapl.discover({}, [tmp_path])}
    assert found == {
        "cpu:0": "intel-rapl:0",
        "dram:0": "intel-rapl:1",
        "cpu:1": "intel-rapl:2",
        "dram:1": "intel-rapl:3",
    }


def test_without_a_zone_the_reason_says_what_to_do(tmp_path: Path, counters: Counters) -> None:
    with pytest.raises(MeterError, match=r"no intel-rapl zone: a virtual machine .* modprobe"):
        counters.open()
    zone(tmp_path, "intel-rapl:0", "psys")
    with pytest.raises(MeterError, match="has intel-rapl:0, of which none is a package"):
        counters.open()


def test_a_counter_for_root_only_is_named_with_the_command_that_opens_it(
    tmp_path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    forbid(monkeypatch, folder)
    with pytest.raises(MeterError) as raised:
        counters.open()
    assert f"{folder / 'energy_uj'} is for root only" in str(raised.value)
    assert f"`sudo chmod a+r {tmp_path}/intel-rapl:*/energy_uj`" in str(raised.value)


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take the right to read the counter away; the tests may run as root, whom no mode stops."""
    read_text = Path.read_text

    def read(path: Path, *rest: Any) -> str:
        if path == folder / "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *rest)

    monkeypatch.setattr(Path, "read_text", read)


@pytest.mark.parametrize(
    ("limits_w", "expected_w"),
    [
        ({}, 1000.0),
        ({"constraint_0_max_power_uw": 205.0}, 205.0),
        ({"constraint_0_power_limit_uw": 205.0, "constraint_1_power_limit_uw": 250.0}, 250.0),
        ({"constraint_0_power_limit_uw": 15.0}, 200.0),  # a limit may be switched off
        ({"constraint_0_power_limit_uw": 0.0}, 1000.0),
        ({"constraint_0_max_power_uw": 125.0, "constraint_1_power_limit_uw": 4095.9}, 1000.0),
    ],
)
def test_the_greatest_power_is_the_greatest_limit_that_can_be_one(
    tmp_path: Path, limits_w: dict[str, float], expected_w: float
) -> None:
    files = {name: round(watts * 1e6) for name, watts in limits_w.items()}
    folder = zone(tmp_path, "intel-rapl:0", "package-0", constraint_2_max_power_uw="", **files)
    assert rapl.greatest_power_w(folder)[0] == expected_w


@pytest.mark.parametrize(
    ("range_j", "limit_w", "expected_s"),
    [(262_143.0, 205, 1.0), (400.0, 250, 0.4), (30.0, 250, 0.03), (0.1, 250, 0.005)],
)
def test_a_counter_is_looked_at_four_times_per_wrap_and_once_a_second(
    tmp_path: Path, range_j: float, limit_w: int, expected_s: float
) -> None:
    zone(
        tmp_path,
        "intel-rapl:0",
        "package-0",
        energy_j=0.0,
        max_energy_range_uj=round(range_j * 1e6),
        constraint_0_max_power_uw=limit_w * 1_000_000,
    )
    (found,) = rapl.discover({}, [tmp_path])
    assert found.look_s == pytest.approx(expected_s)


# Tally: the arithmetic, with times of its own. Range 30 J, at most 100 W: a wrap takes 0.3 s.


def tally() -> Tally:
    return Tally(range_uj=30e6, max_w=100.0)


def test_wraps_are_undone_however_many_there_are() -> None:
    counter, steps = tally(), 400
    # 50 W, looked at every 0.1 s: 5 J each, a wrap every sixth time.
    for step in range(steps + 1):
        at_s = 0.1 * step
        assert counter.add((7.0 + 50.0 * at_s) % 30.0 * 1e6, at_s, at_s) is None
    assert counter.energy_uj == pytest.approx(50.0 * 0.1 * steps * 1e6)


def test_a_counter_without_a_range_is_not_to_go_back() -> None:
    counter = Tally()
    counter.add(100e6, 0.0, 0.0)
    assert counter.add(5e6, 1.0, 1.0) == "the counter went back by 95 J"
    assert counter.add(8e6, 2.0, 2.0) is None
    assert (counter.energy_uj, counter.losses) == (3e6, 1)


def test_a_jump_back_is_told_from_a_wrap_by_the_power_it_would_mean() -> None:
    counter = Tally(range_uj=RANGE_UJ, max_w=205.0)
    counter.add(100e6, 0.0, 0.0)
    problem = counter.add(5e6, 1.0, 1.0)
    assert problem is not None
    assert problem.startswith(
        "the counter went back by 95 J, and a wrap would mean 262048 J in 1 s"
    )
    # Near the top the same step is a wrap: 262143.32885 - 262100 + 5 J.
    counter.add(262_100e6, 2000.0, 2000.0)
    before_uj = counter.energy_uj
    assert counter.add(5e6, 2001.0, 2001.0) is None
    assert counter.energy_uj - before_uj == pytest.approx(48.32885e6)


def test_a_jump_ahead_is_no_joule_either() -> None:
    counter = tally()
    counter.add(0.0, 0.0, 0.0)
    # 100 W for 0.01 s and 0.05 s of lag are 6 J, half as much again is believed: 9 J.
    assert counter.add(8.9e6, 0.01, 0.01) is None
    problem = counter.add(8.9e6 + 9.1e6, 0.02, 0.02)
    assert problem == "the counter's rise would mean 9.1 J in 0.01 s, at most 100 W"
    assert (counter.energy_uj, counter.losses) == (8.9e6, 1)


def test_a_counter_that_nobody_looked_at_for_a_wrap_has_lost_joules() -> None:
    counter = tally()
    counter.add(0.0, 0.0, 0.0)
    assert counter.add(1e6, 0.3, 0.31) == (
        "not read for 0.31 s, in which a counter of 30 J may have wrapped more than once"
    )


def test_a_reading_that_takes_long_is_not_taken_for_a_jump() -> None:
    counter = tally()
    counter.add(0.0, 0.0, 0.2)  # read at 0 s, answered at 0.2 s
    assert counter.add(20e6, 0.2, 0.2) is None  # so these joules may have come in all that time
    assert math.isclose(counter.energy_uj, 20e6)


# Faults in mid-run: no wrong joule in any reading.


def faulty(
    counters: Counters, folder: Path, fault: Any, mend: Any
) -> tuple[dict[str, float | str | None], ...]:
    """Return the span up to a fault, the one across it, and the one behind it."""
    channels = counters.open()
    start = counters.read()
    fault()
    during = counters.read()
    mend()
    put(folder, 40.0)
    after = counters.read()
    put(folder, 42.0)
    last = counters.read()
    spans = ((start, during), (start, after), (after, last))
    return tuple(joules(channels, *span) for span in spans)


def test_a_failed_read_costs_the_joules_around_it_and_no_more(
    tmp_path: Path, counters: Counters
) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    file, aside = folder / "energy_uj", tmp_path / "aside"
    until, across, behind = faulty(
        counters, folder, lambda: file.rename(aside), lambda: aside.rename(file)
    )
    for span in (until, across):
        assert str(span["cpu:0"]).startswith("FileNotFoundError: [Errno 2] No such file")
    assert behind == {"cpu:0": 2.0}


@pytest.mark.parametrize("garbage", ["", "garbage", "-5", str(RANGE_UJ + 1), "1e6"])
def test_garbage_is_no_joule(tmp_path: Path, counters: Counters, garbage: str) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    until, across, behind = faulty(
        counters, folder, lambda: (folder / "energy_uj").write_text(garbage), lambda: None
    )
    assert str(until["cpu:0"]).startswith("ValueError: ")
    assert across == until
    assert behind == {"cpu:0": 2.0}


def test_a_permission_lost_in_mid_run_is_a_reason(
    tmp_path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    until, across, behind = faulty(
        counters, folder, lambda: forbid(monkeypatch, folder), monkeypatch.undo
    )
    assert str(until["cpu:0"]).startswith("PermissionError: [Errno 13] Permission denied")
    assert across == until
    assert behind == {"cpu:0": 2.0}


def test_a_counter_that_jumps_back_is_a_reason_and_its_other_zones_go_on(
    tmp_path: Path, counters: Counters
) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 30.0)
    other = zone(tmp_path, "intel-rapl:1", "package-1", 5.0)

    def fault() -> None:
        put(folder, 20.0)
        put(other, 6.0)

    until, across, behind = faulty(counters, folder, fault, lambda: None)
    assert str(until["cpu:0"]).startswith("the counter went back by 10 J, and a wrap would mean")
    assert across["cpu:0"] == until["cpu:0"]
    assert behind["cpu:0"] == 2.0
    assert (until["cpu:1"], across["cpu:1"], behind["cpu:1"]) == (1.0, 1.0, 0.0)


def test_a_loss_that_only_the_thread_saw_costs_the_span_its_joules(
    tmp_path: Path, counters: Counters
) -> None:
    # 60 J at 200 W at least: looked at every 250 ms, and up to 50 ms late on a machine at work.
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 0.0, max_energy_range_uj=60_000_000)
    channels = counters.open()
    start = counters.read()
    file, aside = folder / "energy_uj", tmp_path / "aside"
    file.rename(aside)
    time.sleep(0.6)
    aside.rename(file)
    end = counters.read()
    assert not end.failures
    assert str(joules(channels, start, end)["cpu:0"]).startswith("FileNotFoundError")


def test_closing_ends_the_thread_and_twice_is_harmless(tmp_path: Path, counters: Counters) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    counters.open()
    (part,) = counters._parts
    assert isinstance(part, rapl.Rapl)
    assert part._thread.is_alive()
    counters.close()
    counters.close()
    assert not part._thread.is_alive()
