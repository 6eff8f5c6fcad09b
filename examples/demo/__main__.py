"""The command: `python -m examples.demo [--orders N] [--kills N] [--seed N] [--patience S] [--keep DIR]`."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from examples.demo.orders import read_orders, read_stock
from examples.demo.proof import compare, find_violations, read_books
from examples.demo.report import Progress, describe_books, describe_orders, describe_work
from examples.demo.supervisor import Day, Plan, live_through
from examples.demo.worker_process import WorkerFailedError
from perdure import Client, Status

LIMIT_S = 55.0
"""When something must be hanging: a machine with two slow cores needs half of it."""

LINES_SHOWN_MAX = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0 only if everything was proved, 1 if not, 2 if it could not even begin."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="perdure-demo-") as temporary:
        plan = Plan(
            orders=read_orders()[: options.orders],
            stock=read_stock(),
            folder=(options.keep or Path(temporary)).resolve(),
            kills=options.kills,
            seed=options.seed,
            patience=timedelta(seconds=options.patience),
        )
        try:
            plan.folder.mkdir(parents=True, exist_ok=True)
            plan.check()
        except (OSError, ValueError) as error:
            print(f"examples.demo: {error}", file=sys.stderr)
            return 2
        return _run(plan)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    everything = len(read_orders())
    parser = argparse.ArgumentParser(
        "python -m examples.demo", description="Put orders through a worker that is killed again and again."
    )
    parser.add_argument("--orders", type=int, default=everything, help="how many rows of orders.csv; default all")
    parser.add_argument("--kills", type=int, default=7, help="how often the worker is killed; default 7")
    parser.add_argument("--seed", type=int, default=1, help="decides when; default 1")
    parser.add_argument(
        "--patience", type=float, default=8.0, help="seconds that an order waits for approval; default 8"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the ledger, the store and the log here")
    return parser.parse_args(arguments)


def _run(plan: Plan) -> int:
    print(
        f"{len(plan.orders):,} orders come in. A worker fulfils them, and is killed {plan.kills} times while it does.",
        flush=True,
    )
    progress = Progress()
    day: Day | None = None
    failure = ""
    try:
        day = asyncio.run(_within_limit(plan, progress))
    except* WorkerFailedError as group:
        failure = str(group.exceptions[0])
    except* TimeoutError:
        failure = (
            f"The day was not over after {LIMIT_S:g} s, so nothing is proved. {asyncio.run(_name_open_orders(plan))}"
        )
    finally:
        progress.end()
    if day is None:
        print(failure, file=sys.stderr)
        return 1
    return _judge(plan, day)


async def _within_limit(plan: Plan, progress: Progress) -> Day:
    async with asyncio.timeout(LIMIT_S):
        return await live_through(plan, progress)


async def _name_open_orders(plan: Plan) -> str:
    async with Client(plan.store) as client:
        page = await client.list_instances(status=(Status.PENDING, Status.RUNNING, Status.HELD))
    names = ", ".join(f"{each.instance_id} {each.held_because or each.status}" for each in page.items[:LINES_SHOWN_MAX])
    return f"Still open: {names or 'none'}."


def _judge(plan: Plan, day: Day) -> int:
    """Say what happened, and whether the books prove that all is well."""
    books = read_books(plan.ledger)
    disagreements = compare(books, plan.orders, day.results)
    print("\nHow the orders ended, by the ledger:")
    print(describe_orders(plan.orders, books))
    print("\nWhat it took:")
    print(describe_work(books, day.kills))
    print("\nThe balance:")
    print(describe_books(plan.orders, books, plan.stock, len(plan.orders) - len(disagreements)))
    violations = find_violations(books, plan.orders, plan.stock) + disagreements
    if day.kills != plan.kills:
        violations.append(f"the worker was killed {day.kills} times, and should have been {plan.kills} times")
    if violations:
        print(f"\nNOT PROVED. {len(violations):,} things are wrong:")
        print("\n".join(violations[:LINES_SHOWN_MAX]))
        return 1
    print(
        "\nPROVED, from the ledger alone: every order ended as it had to, every effect happened exactly once, no unit\n"
        "and no cent is missing, and Perdure says the same of every order. The worker died in the middle of its work\n"
        f"{day.kills} times; the next one went on where it was."
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
