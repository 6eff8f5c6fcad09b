"""Histories of canonical orchestrations, with the code that wrote them, and what may be wrong with others like them."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perdure import HeldError
from perdure import _events as ev
from perdure._core.execution import Execution
from perdure._core.history import check, read_rows
from perdure._core.stage import Stage
from perdure._work import HistoryRow, Query
from tests.crashes.harness import Stage as Theatre
from tests.crashes.scenarios import SCENARIOS
from tests.fuzz.damage import Choose, changed_bytes


@dataclass(frozen=True)
class Recorded:
    """The history of one execution, and the code that wrote it."""

    definition: Any
    instance_id: str
    incarnation: int
    execution: int
    rows: list[HistoryRow] = field(repr=False)

    def replay(self, rows: list[HistoryRow] | None = None) -> None:
        """What a worker does with a history, or with another in its place, before anything else.

        Raises:
            HeldError: It can't be read, breaks its rules, or is not what the code asks for.
        """
        events = read_rows(self.rows if rows is None else rows)
        check(events, self.execution)
        stage, execution = Stage(), Execution(self.instance_id, self.incarnation, self.definition)
        with stage:
            stage.enter(execution)
            try:
                execution.replay(events)
            finally:
                stage.leave(execution)
                with stage.on(execution):
                    execution.drop()


NAMES = ("order", "carried events", "race", "child in time", "cancel with compensation", "saga", "task group", "queue")


async def record() -> list[Recorded]:
    recorded: list[Recorded] = []
    for scenario in SCENARIOS:
        if scenario.name not in NAMES:
            continue
        theatre = Theatre(scenario)
        async with theatre.process() as env:
            await theatre.perform(env)
        for record in theatre.store.find(Query())[0]:
            definition = theatre.registry.orchestration(record.name, record.version)
            for execution in range(1, record.execution + 1):
                rows = theatre.store.history(record.incarnation, execution)
                if rows:
                    recorded.append(Recorded(definition, record.id, record.incarnation, execution, rows))
    return recorded


def as_row(events: list[Any]) -> HistoryRow:
    """The events as a row whose checksum is right."""
    data = ev.encode_events(events)
    return HistoryRow(first=1, last=len(events), at=1, data=data, crc=ev.checksum(data))


def changed_events(events: list[Any], others: list[Any], choose: Choose) -> list[Any]:
    """One event less, one more, two the other way round, another one in its place, or another value in it."""
    at, other = choose(len(events)), others[choose(len(others))]
    match choose(5):
        case 0:
            return events[:at] + events[at + 1 :]
        case 1:
            return [*events[:at], other, *events[at:]]
        case 2 if at:
            return [*events[: at - 1], events[at], events[at - 1], *events[at + 1 :]]
        case 3:
            return [*events[:at], other, *events[at + 1 :]]
        case _:
            return [*events[:at], _with_other_value(events[at], choose), *events[at + 1 :]]


def _with_other_value(event: Any, choose: Choose) -> Any:
    fields = [name for name in event.__struct_fields__ if name != "id"]
    if not fields:
        return event
    name = fields[choose(len(fields))]
    value: Any = getattr(event, name)
    if isinstance(value, int):
        value += choose(5) - 2
    elif isinstance(value, msgspec.Raw):
        value = msgspec.Raw((b"null", b"[]", b'{"a":1}', b'"text"', b"7")[choose(5)])
    elif isinstance(value, str):
        value = ("", "other", value[1:])[choose(3)]
    return msgspec.structs.replace(event, **{name: value})


def try_other_events(recorded: list[Recorded], choose: Choose) -> str:
    """Replay a history that says something else; returns it. What it raises is a defect."""
    one = recorded[choose(len(recorded))]
    others = read_rows(recorded[choose(len(recorded))].rows)
    events = read_rows(one.rows)
    for _ in range(1 + choose(2)):
        events = changed_events(events, others, choose) or events
    if choose(2):
        # As a writer with a defect would: every id in its place.
        events = [msgspec.structs.replace(event, id=number) for number, event in enumerate(events, start=1)]
    with suppress(HeldError):
        one.replay([as_row(events)])
    return str(events)


def try_other_bytes(recorded: list[Recorded], choose: Choose) -> str:
    """Replay a history of other bytes, which a checksum tells; returns them. What it raises is a defect."""
    one = recorded[choose(len(recorded))]
    rows = one.rows
    at = choose(len(rows))
    data = changed_bytes(rows[at].data, choose)
    changed = [*rows[:at], msgspec.structs.replace(rows[at], data=data), *rows[at + 1 :]]
    try:
        one.replay(changed)
    except HeldError as error:
        found = "checksum" in str(error)
    else:
        found = data == rows[at].data
    assert found, f"nobody saw that the bytes were others: {data!r}"
    # A checksum that was made from the same bytes hides nothing either.
    changed[at] = msgspec.structs.replace(changed[at], crc=ev.checksum(data))
    with suppress(HeldError):
        one.replay(changed)
    return repr(data)
