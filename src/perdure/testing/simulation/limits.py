"""That no limit by key is ever exceeded, by the books alone: what was granted, and what histories say is held."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perdure.testing.simulation.ledger import Ledger, TaskKey, Violation
from perdure.testing.simulation.programs import LIMITS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from perdure import _work as work
    from perdure.testing.simulation.chronicle import Chronicle


def may_have_grown(answer: work.Committed) -> bool:
    """Whether somebody may have got a place of a limit."""
    taken = answer.work
    return taken is not None and bool(taken.instances or any(task.is_limited for task in taken.tasks))


def check(chronicles: Iterable[Chronicle], ledger: Ledger, placed: Container[TaskKey], crowded: Container[str]) -> None:
    """No key has more users than its concurrency, but where somebody was put back to where it had a place."""
    used: Counter[str] = Counter()
    for chronicle in chronicles:
        used.update(chronicle.places[event].limit.key for event in chronicle.entered)
        for event, asked in chronicle.tasks.items():
            task = (chronicle.incarnation, chronicle.execution, event)
            if asked.limit is not None and task in ledger.task_owner and task in placed:
                used[asked.limit.key] += 1
    for key, many in used.items():
        most = LIMITS[key].concurrency
        if most is not None and many > most and key not in crowded:
            raise Violation(f"{many} have a place of {key!r} at a time, of which there are {most}")
