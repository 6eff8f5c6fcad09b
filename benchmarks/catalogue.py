"""The workloads: what each is, how large it is for each side, and which figure the ratios compare."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SMALLEST = 20
_BOTH = frozenset({"sqlite", "postgresql"})


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload.

    `metric` is the figure of a row that the ratios compare; `size` is that of the peers unless `sizes` names the side;
    `stores` are those on which the sides are compared.
    """

    name: str
    title: str
    metric: str
    size: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    higher_is_better: bool = False
    timeout_s: float = 300.0
    peers: bool = True
    smallest: int = SMALLEST
    stores: frozenset[str] = frozenset({"sqlite"})

    def size_for(self, side: str, *, quick: bool) -> int:
        """The number of orchestrations, activities or processes; a tenth of it when in a hurry."""
        size = self.sizes.get(side, self.size)
        return max(size // 10, min(size, self.smallest)) if quick else size


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "one activity, start to result, one after the other", "p50_ms", 200, timeout_s=60, stores=_BOTH),
        Workload("W2", "1,000 orchestrations of 5 activities", "orch_per_s", 1000, higher_is_better=True, stores=_BOTH),
        Workload(
            "W2x",
            "W2 with 10 kB payloads, 5 ms activities, 100 clients",
            "orch_per_s",
            1000,
            higher_is_better=True,
            smallest=100,
        ),
        Workload(
            "W3", "fan-out and join in one orchestration", "act_per_s", 1000, {"perdure": 10_000}, higher_is_better=True
        ),
        Workload(
            "W4",
            "activities in a row in one orchestration",
            "ms_per_act",
            2000,
            # duroxide's time per activity grows with the history: 2,000 take two minutes.
            {"perdure": 5000, "duroxide": 500},
        ),
        Workload(
            "W5",
            "W1 beside orchestrations parked on one-hour timers",
            "w1_p50_ms",
            5000,
            {"perdure": 100_000},
            timeout_s=600,
        ),
        Workload("W6", "SIGKILL with 200 orchestrations half done, to all complete", "recover_s", 200, smallest=40),
        Workload("W7", "signal to completion", "p50_ms", 200, timeout_s=120, stores=_BOTH),
        Workload("W8", "cold start of a process to the first result", "new_db_s", 15, smallest=3),
        Workload(
            "fleet",
            "two worker processes against one, and a fan-out over both",
            "two_over_one",
            1000,
            higher_is_better=True,
            peers=False,
            smallest=100,
            stores=frozenset({"postgresql"}),
        ),
        Workload(
            "grown",
            "a store with a million finished and 100,000 parked instances against an empty one",
            "worst_over_empty",
            1_000_000,
            timeout_s=1200,
            peers=False,
            smallest=20_000,
            stores=_BOTH,
        ),
        Workload("replay", "replay of a 10,000-event history from disk", "replay_s", 10_000, peers=False, smallest=400),
    )
}
