"""Play tapes on two stores, find the first difference, shorten the tape to what is needed for it."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from perdure._ports import Clock, Entropy
from perdure._work import Committed, Refused
from perdure.errors import OutcomeUnknownError, StorageUnavailableError
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock, SeededEntropy
from perdure.testing.storage_suite.tape.author import Author
from perdure.testing.storage_suite.tape.side import Side
from perdure.testing.storage_suite.tape.steps import (
    Ask,
    Call,
    Commit,
    Fault,
    Faulty,
    Find,
    Heartbeat,
    Move,
    Stand,
    Step,
)
from perdure.testing.storage_suite.tape.words import brief, differences
from perdure.testing.storage_suite.world import StorageUnderTest

if TYPE_CHECKING:
    from perdure._work import InstanceRecord, WorkerRecord

Make: TypeAlias = Callable[[Clock, Entropy], StorageUnderTest]
"""How to make an empty store; called for every tape, and for every attempt to shorten one."""

STEPS = 60

QUIET = (Ask, Find, Heartbeat, Move, Stand)
"""What changes nothing that could be read afterwards."""


class DifferenceError(AssertionError):
    """Two stores gave different answers to the same calls."""

    def __init__(self, seed: int, steps: int, tape: list[Step], found: str) -> None:
        self.seed = seed
        self.tape = tape
        self.found = found
        lines = "\n".join(f"  {number:3} {brief(step)}" for number, step in enumerate(tape, start=1))
        super().__init__(
            f"seed {seed} gave different answers; play it again with\n"
            f"  python -m perdure.testing.storage_suite --seed {seed} --steps {steps}\n"
            f"the shortest tape that shows it ({len(tape)} steps):\n{lines}\n{found}"
        )


class Faults(Protocol):
    """What can be made to happen to a store, so that its own ways out are taken."""

    def inject(self, fault: Fault, /) -> AbstractContextManager[None]:
        """Inside, the call of the other store fails (`FAILED`) or breaks off without being applied (`BROKEN`)."""
        ...


def check(
    make: Make,
    *,
    seeds: Iterable[int],
    steps: int = STEPS,
    faults: Faults | None = None,
    met: Counter[tuple[str, str]] | None = None,
) -> int:
    """Play the tapes of these seeds on the reference storage and on another; returns the number of steps played.

    Args:
        make: Makes the other, with the clock and the entropy that it shall use.
        seeds: One tape for each.
        steps: How long a tape is.
        faults: How to make calls of the other fail; without it none does.
        met: Counts here how often which call or item has met which outcome.

    Raises:
        DifferenceError: Some answers differ; it shows the shortened tape and how to play it again.
    """
    played = 0
    theatre = _Theatre(make, faults, Counter() if met is None else met)
    for seed in seeds:
        tape, found = _write(theatre, seed, steps)
        if found is not None:
            short, found = _shorten(theatre, tape, found)
            raise DifferenceError(seed, steps, short, found)
        played += len(tape)
    return played


class _Theatre(NamedTuple):
    """What is the same for every tape."""

    make: Make
    faults: Faults | None
    met: Counter[tuple[str, str]]


class _Pair:
    """The two stores at the same point of a tape."""

    def __init__(self, theatre: _Theatre) -> None:
        self._faults = theatre.faults
        self._met = theatre.met
        # Each store has a clock and entropy of its own, so that one that reads them more often is no difference.
        clock = ManualClock()
        self._model = Side(MemoryStorage(clock, SeededEntropy(1)), clock)
        clock = ManualClock()
        self._other = Side(theatre.make(clock, SeededEntropy(1)), clock)
        self._before: dict[str, InstanceRecord] = {}
        self.answer: object = None
        self.records: list[InstanceRecord] = []
        self.workers: list[WorkerRecord] = []

    def play(self, step: Step) -> str | None:
        """Play one step on both; returns the difference, if any."""
        if isinstance(step, Faulty):
            return self._play_faulty(step) or self._compare()
        self.answer = self._model.play(step)
        _count(self._met, step, self.answer)
        other = self._other.play(step)
        found = _found("answer", self.answer, other)
        return found if found or isinstance(step, QUIET) else self._compare()

    def _play_faulty(self, step: Faulty) -> str | None:
        """Play a step whose answer is lost or that fails; the reference follows what became of it."""
        call, outcome, other = step.call, "unknown", None
        landed = True
        try:
            with nullcontext() if self._faults is None or step.fault is Fault.LOST else self._faults.inject(step.fault):
                other = self._other.play(call)
        except StorageUnavailableError:
            outcome, landed = "failed", False
        except OutcomeUnknownError:
            landed = False
        else:
            if step.fault is Fault.LOST:
                other = None
            else:
                # It wrote nothing, so there was nothing that could fail.
                outcome = ""
        self.answer = self._model.play(call) if landed else None
        # A call that fails has read the clock all the same, and a store's time never goes back behind that.
        self._model.storage.now()
        self._other.storage.now()
        if outcome:
            self._met.update((name, outcome) for name in _names(call))
        else:
            _count(self._met, call, self.answer)
        if isinstance(call, Commit):
            found = _found("applied()", self._model.has_applied(call), self._other.has_applied(call))
            if found is not None:
                return found
        return None if other is None else _found("answer", self.answer, other)

    def _compare(self) -> str | None:
        """Compare everything that can be read; histories of what has changed."""
        self.records = self._model.records()
        self.workers = self._model.workers()
        changed = [each for each in self.records if self._before.get(each.id) != each]
        self._before = {each.id: each for each in self.records}
        for what, left, right in (
            ("instances", self.records, self._other.records()),
            ("workers", self.workers, self._other.workers()),
            ("histories", self._model.histories(changed), self._other.histories(changed)),
            ("figures", self._model.figures(changed), self._other.figures(changed)),
            ("entries", self._model.entries(changed), self._other.entries(changed)),
            ("images", self._model.images(changed), self._other.images(changed)),
        ):
            found = _found(what, left, right)
            if found is not None:
                return found
        return None

    def close(self) -> None:
        """Close the stores."""
        self._model.storage.close()
        self._other.storage.close()


def _found(what: str, left: object, right: object) -> str | None:
    """The differences, if any."""
    return "\n".join(differences(left, right, what)) or None


def _names(call: Call) -> list[str]:
    """The call, and the kinds of items that it brings."""
    items = {type(item).__name__ for item in call.items} if isinstance(call, Commit) else set()
    return [type(call).__name__, *sorted(items)]


def _count(met: Counter[tuple[str, str]], call: Call, answer: object) -> None:
    """Count what has met which outcome: applied, or refused in any of the ways that calls have."""
    if isinstance(call, Commit) and isinstance(answer, Committed):
        for item, outcome in zip(call.items, answer.outcomes, strict=True):
            met[type(item).__name__, "refused" if isinstance(outcome, Refused) else "applied"] += 1
        gone = call.label is not None and call.claim is not None and answer.work is None
        met["Commit", "refused" if gone else "applied"] += 1
    else:
        met[type(call).__name__, "refused" if answer is False else "applied"] += 1


def _write(theatre: _Theatre, seed: int, steps: int) -> tuple[list[Step], str | None]:
    """Write and play a tape up to its end or the first difference."""
    author, pair, tape = Author(seed, faults=theatre.faults is not None), _Pair(theatre), list[Step]()
    try:
        for _ in range(steps):
            tape.append(author.next())
            found = pair.play(tape[-1])
            if found is not None:
                return tape, found
            author.read(tape[-1], pair.answer, pair.records, pair.workers)
        for step in author.last():
            tape.append(step)
            found = pair.play(step)
            if found is not None:
                return tape, found
    finally:
        pair.close()
    return tape, None


def _replay(theatre: _Theatre, tape: list[Step]) -> str | None:
    """The first difference on a tape that is written already."""
    pair = _Pair(theatre)
    try:
        for step in tape:
            found = pair.play(step)
            if found is not None:
                return found
    finally:
        pair.close()
    return None


def _shorten(theatre: _Theatre, tape: list[Step], found: str) -> tuple[list[Step], str]:
    """Cut pieces out of the tape, large ones first, as long as it still shows a difference."""
    size = len(tape) // 2
    while size:
        start = 0
        while start < len(tape):
            shorter = tape[:start] + tape[start + size :]
            difference = _replay(theatre, shorter)
            if difference is None:
                start += size
            else:
                tape, found = shorter, difference
        size //= 2
    return tape, found
