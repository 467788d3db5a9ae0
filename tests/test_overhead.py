"""What measuring cost, as a reader is told; how it is measured stands in test_measurement."""

from __future__ import annotations

from dataclasses import replace

from factories import frame, record

from bench.readings import Reading
from bench.reporting import notes
from bench.reporting.rows import rows


def test_the_note_tells_the_worst_of_a_tables_records() -> None:
    mild = record(grades=("B",))
    worse = replace(
        mild.session.overhead,
        wall_s=0.00005,
        edges_cpu_s=0.0042,
        cpu_share=0.0031,
        readings=(
            Reading("counters", "cpu:0", "rapl", "B", 0.123),
            Reading("codecarbon", "cpu", "codecarbon.cpu_load", "C", 9.0),  # a model: left out
            Reading("counters", "gpu:0", "nvml", "B", None, "lost"),
        ),
    )
    costly = replace(mild, session=replace(mild.session, overhead=worse))
    both = rows(frame(mild, replace(costly, id="another", seed=1)))
    told = [note.text for note in notes.of_section(both, ["overhead"])]
    assert (
        "Cost of measuring, at most: an empty window is charged 0.05 ms and at most 0.12 J a "
        "counter; reading at its edges takes 4.2 CPU-ms outside it; harness and meters take 0.31% "
        "of a core while idling."
    ) in told
