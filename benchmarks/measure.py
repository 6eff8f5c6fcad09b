"""What is measured and how: percentiles, memory, processor time, bytes written.

Standard library only, and nothing newer than Python 3.11: the interpreters of the peers import this module too.
Memory and bytes written are read from `/proc`, so the figures of W5 need Linux.
"""

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Metrics: TypeAlias = dict[str, object]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated between neighbours."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def median(values: Sequence[float]) -> float:
    """The 50th percentile."""
    return percentile(values, 50)


def latencies(seconds: Sequence[float]) -> Metrics:
    """Count, percentiles, extremes and mean of the durations, in milliseconds."""
    millis = [value * 1e3 for value in seconds]
    return {
        "n": len(millis),
        "p50_ms": round(percentile(millis, 50), 3),
        "p95_ms": round(percentile(millis, 95), 3),
        "p99_ms": round(percentile(millis, 99), 3),
        "min_ms": round(min(millis), 3),
        "max_ms": round(max(millis), 3),
        "mean_ms": round(sum(millis) / len(millis), 3),
    }


def throughput(orchestrations: int, activities_each: int, elapsed_s: float, cpu_s: float) -> Metrics:
    """The figures of W2: how many in how long, at what cost."""
    return {
        "n": orchestrations,
        "elapsed_s": round(elapsed_s, 3),
        "orch_per_s": round(orchestrations / elapsed_s, 1),
        "act_per_s": round(orchestrations * activities_each / elapsed_s, 1),
        "cpu_s": round(cpu_s, 2),
        "rss_mb": rss_mb(),
    }


def fan_out(activities: int, elapsed_s: float) -> Metrics:
    """The figures of W3."""
    return {"n": activities, "elapsed_s": round(elapsed_s, 3), "act_per_s": round(activities / elapsed_s, 1)}


def in_a_row(activities: int, elapsed_s: float, stamps: Sequence[float], window: int) -> Metrics:
    """The figures of W4: the mean time per activity, and how it grew."""
    mean_ms = elapsed_s / activities * 1e3
    return {
        "n": activities,
        "elapsed_s": round(elapsed_s, 3),
        "ms_per_act": round(mean_ms, 3),
        **growth(stamps, window),
    }


def growth(stamps: Sequence[float], window: int) -> Metrics:
    """The time per activity in the first `window` steps against that in the last ones.

    `stamps` holds the moment at which each activity ran, in order.
    """
    window = min(window, len(stamps) // 4)
    first_s = stamps[window] - stamps[0]
    last_s = stamps[-1] - stamps[-1 - window]
    return {
        "done_activities": len(stamps),
        "window": window,
        "first_ms_per_act": round(first_s / window * 1e3, 3),
        "last_ms_per_act": round(last_s / window * 1e3, 3),
        "ratio_last_first": round(last_s / first_s, 3),
    }


def rss_mb() -> float:
    """The memory of this process that is resident, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * PAGE_BYTES / MIB, 1)


def settled_rss_mb() -> float:
    """`rss_mb` after a garbage collection."""
    gc.collect()
    return rss_mb()


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process has used so far; the difference of two is what it used in between."""

    at_s: float
    cpu_s: float
    write_calls: int
    written_bytes: int

    @classmethod
    def now(cls) -> "Usage":
        """Read the counters: processor time of all threads, and write calls and bytes sent to storage."""
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        io = {name: int(value) for name, value in (line.split(": ") for line in lines)}
        return cls(time.perf_counter(), time.process_time(), io["syscw"], io["write_bytes"])

    def idle_since(self, before: "Usage", prefix: str = "") -> Metrics:
        """What an idle process did between `before` and this: per cent of one core, write calls, kB written."""
        elapsed_s = self.at_s - before.at_s
        return {
            f"{prefix}idle_s": round(elapsed_s, 1),
            f"{prefix}idle_cpu_pct": round((self.cpu_s - before.cpu_s) / elapsed_s * 100, 2),
            f"{prefix}idle_write_calls": self.write_calls - before.write_calls,
            f"{prefix}idle_written_kb": round((self.written_bytes - before.written_bytes) / 1024, 1),
        }
