"""Lets go of live executions, whose `finally` blocks Python runs when it closes them.

Law 7: a program that does not end there either is interrupted, and stops no other.
"""

import logging

from perdure._core.loop import where_suspended
from perdure._core.stage import Stage
from perdure._core.unwinding import graveyard
from perdure._runtime.live import Live
from perdure._runtime.watchdog import TurnInterrupted, TurnWatch
from perdure.errors import TurnLimitError

_log = logging.getLogger("perdure.runtime")


def drop(live: Live, stage: Stage, watch: TurnWatch) -> int:
    """End the program of an instance in silence; replay will rebuild it. Returns how many coroutines would not end."""
    execution, live.execution = live.execution, None
    if execution is None:
        return 0
    stubborn = 0
    watch.begin(live.instance_id)
    try:
        with stage.on(execution):
            stubborn = execution.drop()
    except TurnInterrupted:
        pass
    finally:
        watch.end()
    try:
        watch.verdict()
    except TurnLimitError as error:
        _log.warning("%s: while %s was dropped from memory, %s", live.instance_id, live.name, error)
    if stubborn:
        _log.warning(
            "%s: %d coroutine(s) of %s swallow GeneratorExit and could not be closed; they stay in memory, "
            "at %s. Let it pass: catch Exception, or raise it again",
            live.instance_id,
            stubborn,
            live.name,
            ", ".join(where_suspended(coroutine, "an unknown line") for coroutine in graveyard[-stubborn:]),
        )
    return stubborn
