"""The results for people: one table per workload, and the bars."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.bars import Verdict
from benchmarks.catalogue import Workload
from benchmarks.ratios import Row, median_of

# The figures that a workload's table shows, after the one that its ratios compare.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "W1": ("p95_ms", "p99_ms", "cpu_ms_each", "full_commit_ms", "p50_full_commits"),
    "W2": ("act_per_s", "elapsed_s", "cpu_s", "rss_mb", "trips_per_step", "rows_per_step", "log_bytes_per_step"),
    "W2x": ("act_per_s", "elapsed_s", "cpu_s", "rss_mb"),
    "W3": ("elapsed_s", "small_act_per_s", "growth_per_act"),
    "W4": ("elapsed_s", "first_ms_per_act", "last_ms_per_act", "ratio_last_first"),
    "W5": (
        "w1_over_empty",
        "parked_s",
        "rss_before_mb",
        "rss_mb",
        "idle_cpu_pct",
        "empty_idle_cpu_pct",
        "idle_written_kb",
        "empty_idle_written_kb",
    ),
    "W6": ("first_activity_after_restart_s", "lost", "started_twice", "finished_twice", "recorded_twice"),
    "W7": ("p95_ms", "p99_ms"),
    "W8": ("bare_python_s", "import_s", "import_asyncio_s", "import_over_asyncio"),
    "fleet": ("one_worker_orch_per_s", "two_workers_orch_per_s", "fan_out", "fan_out_smaller_share"),
    "grown": (
        "parked",
        *(f"{what}_over_empty" for what in ("start", "claim", "turn", "end")),
        "claim_ms",
        "empty_claim_ms",
        "slowest_page_ms",
    ),
    "replay": ("events", "max_replay_s", "replay_cpu_s", "open_s"),
}


def workload_table(workload: Workload, rows: Sequence[Row], advantage: Mapping[str, float | None]) -> str:
    """The medians of every side's runs in Markdown, with Perdure's advantage over each peer."""
    figures = ("n", workload.metric, *_COLUMNS[workload.name])
    lines = [["", *figures, "Perdure's advantage"]]
    for peer in dict.fromkeys(row["peer"] for row in rows):
        version = next((row["version"] for row in rows if row["peer"] == peer), "")
        ratio = advantage.get(peer)
        lines.append([
            f"{peer} {version}".strip(),
            *(_number(median_of(rows, peer, figure)) for figure in figures),
            f"{ratio:g} x" if ratio is not None else "",
        ])  # fmt: skip
    failures = [
        f"{row['peer']} failed: {_last_line(row['notes'])}" for row in rows if row["metrics"].get("failed")
    ]  # fmt: skip
    title = f"{workload.name}: {workload.title} (compared: {workload.metric})"
    return "\n".join((f"\n{title}\n", *_aligned(lines), *failures))


def bars_table(verdicts: Iterable[Verdict]) -> str:
    """Every bar, what was measured, and whether it was met."""
    lines = [["bar", "limit", "measured", "met"]]
    for verdict in verdicts:
        bar = verdict.bar
        figure = f"{bar.figure}, times better than {bar.peer}" if bar.peer else bar.figure
        met = {True: "yes", False: "NO", None: "not measured"}[verdict.met]
        lines.append([f"{bar.workload} {figure}", f"{bar.comparison} {bar.limit:g}", _number(verdict.value), met])
    return "\n".join(("\nBars\n", *_aligned(lines)))


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *body = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
    return [head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no output"
