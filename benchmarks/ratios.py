"""Perdure's advantage over each peer: the ratio of the medians of the figure that a workload compares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.catalogue import Workload
from benchmarks.measure import median

Row: TypeAlias = dict[str, Any]


def median_of(rows: Iterable[Row], peer: str, metric: str) -> float | None:
    """The median of a metric over a side's runs, or None if no run of it has that metric."""
    values = [row["metrics"].get(metric) for row in rows if row["peer"] == peer]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return median(numbers) if numbers else None


def ratios(workload: Workload, rows: Sequence[Row], peers: Sequence[str]) -> Mapping[str, float | None]:
    """For each peer how many times better Perdure is: above 1 is Perdure's advantage, None is not measured."""
    ours = median_of(rows, "perdure", workload.metric)
    found: dict[str, float | None] = {}
    for peer in peers:
        theirs = median_of(rows, peer, workload.metric)
        if not ours or not theirs:
            found[peer] = None
            continue
        ratio = ours / theirs if workload.higher_is_better else theirs / ours
        found[peer] = round(ratio, 2)
    return found
