"""The bars that Perdure's figures are held to, and which of them a run met."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.catalogue import WORKLOADS
from benchmarks.ratios import Row, median_of, ratios

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a figure of Perdure's rows, or its ratio to a peer, and the limit it must keep.

    `size` is the one that the bar speaks of: a run of another size says nothing about it.
    """

    workload: str
    figure: str
    comparison: str
    limit: float
    peer: str = ""
    size: int = 0
    store: str = "sqlite"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured for a bar; `value` is None if the run did not measure it."""

    bar: Bar
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether the bar was met, None if it was not measured."""
        return None if self.value is None else _COMPARE[self.bar.comparison](self.value, self.bar.limit)

    def as_json(self) -> dict[str, object]:
        """The bar, what was measured, and whether it was met."""
        bar = self.bar
        limit = f"{bar.comparison} {bar.limit:g}"
        return {"figure": bar.figure, "peer": bar.peer, "limit": limit, "measured": self.value, "met": self.met}


BARS = (
    Bar("W2", "orch_per_s", ">=", 60, peer="duroxide", size=1000),
    Bar("W2", "orch_per_s", ">=", 40, peer="dbos", size=1000),
    Bar("W2", "orch_per_s", ">=", 20, peer="satay", size=1000),
    Bar("W1", "p50_ms", ">=", 4, peer="dbos"),
    Bar("W1", "p50_ms", ">=", 4, peer="satay"),
    Bar("W1", "p50_ms", ">=", 8, peer="duroxide"),
    Bar("W1", "p50_full_commits", "<=", 6),
    Bar("W3", "act_per_s", ">=", 4000, size=10_000),
    Bar("W3", "growth_per_act", "<", 1.3, size=10_000),
    Bar("W4", "ratio_last_first", "<=", 1.3, size=5000),
    Bar("W5", "rss_over_empty_mb", "<", 100, size=100_000),
    Bar("W5", "idle_cpu_pct", "<", 2, size=100_000),
    Bar("W5", "w1_over_empty", "<=", 1.5, size=100_000),
    Bar("W6", "first_activity_after_restart_s", "<=", 1, size=200),
    Bar("W6", "complete", ">=", 200, size=200),
    Bar("W6", "lost", "<=", 0, size=200),
    Bar("W6", "recorded_twice", "<=", 0, size=200),
    Bar("W8", "new_db_s", ">=", round(1 / 1.3, 3), peer="satay"),
    Bar("W8", "import_over_asyncio", "<=", 1.5),
    Bar("grown", "worst_over_empty", "<=", 1.3, size=1_000_000),
    Bar("grown", "slowest_page_ms", "<", 100, size=1_000_000),
    Bar("replay", "replay_s", "<", 0.3, size=10_000),
    Bar("W2", "orch_per_s", ">=", 40, peer="duroxide", size=1000, store="postgresql"),
    Bar("W2", "orch_per_s", ">=", 15, peer="dbos", size=1000, store="postgresql"),
    Bar("W2", "orch_per_s", ">=", 10, peer="absurd", size=1000, store="postgresql"),
    Bar("W1", "p50_ms", ">=", 2, peer="dbos", store="postgresql"),
    Bar("W7", "p50_ms", ">=", 2, peer="duroxide", store="postgresql"),
    Bar("W7", "p50_ms", ">=", 2, peer="dbos", store="postgresql"),
    Bar("W7", "p50_ms", ">=", 2, peer="absurd", store="postgresql"),
    Bar("W2", "trips_per_step", "<=", 0.2, store="postgresql"),
    Bar("W2", "rows_per_step", "<=", 3, store="postgresql"),
    Bar("grown", "worst_over_empty", "<=", 1.3, size=1_000_000, store="postgresql"),
    Bar("grown", "slowest_page_ms", "<", 100, size=1_000_000, store="postgresql"),
    Bar("fleet", "two_over_one", ">=", 1, size=1000, store="postgresql"),
    Bar("fleet", "fan_out_smaller_share", ">=", 0.2, size=1000, store="postgresql"),
)


def verdicts(workload: str, rows: Sequence[Row]) -> Iterator[Verdict]:
    """One verdict per bar of a workload on the store that it was run on, from the rows of all its runs."""
    stores = {row["backend"] for row in rows if row["peer"] == "perdure"}
    for bar in BARS:
        if bar.workload == workload and bar.store in stores:
            yield Verdict(bar, _value(bar, [row for row in rows if row["backend"] == bar.store]))


def _value(bar: Bar, rows: Sequence[Row]) -> float | None:
    ours = [row for row in rows if row["peer"] == "perdure"]
    if bar.size and any(row["metrics"].get("n") != bar.size for row in ours):
        return None
    if bar.peer:
        return ratios(WORKLOADS[bar.workload], rows, [bar.peer])[bar.peer]
    return median_of(ours, "perdure", bar.figure)
