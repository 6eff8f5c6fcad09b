"""Who writes the tape: a client and some workers who mostly do sensible things, and often enough don't.

The author knows only what a caller can know: what was answered, and what can be read.
"""

from typing import TYPE_CHECKING

from perdure._types import Status
from perdure._work import (
    PAGE_ROWS_MAX,
    Claim,
    Committed,
    InstanceRecord,
    Item,
    Query,
    Serves,
    WorkerRecord,
)
from perdure.testing._dice import Dice
from perdure.testing.storage_suite.tape.book import Book
from perdure.testing.storage_suite.tape.items import IDS, Items
from perdure.testing.storage_suite.tape.steps import (
    Ask,
    Call,
    Commit,
    Fault,
    Faulty,
    Find,
    Heartbeat,
    Move,
    Reap,
    Register,
    Stand,
    Step,
    Unregister,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WRITES = (Commit, Heartbeat, Reap, Register, Unregister)
"""The calls that change something, so that it matters whether they were applied."""

VERSIONS = ("red@1.0.0", "red@2.0.0", "blue@1.0.0")
ACTIVITIES = ("x", "y", "z")
SERVED = (
    *(Serves(),) * 4, Serves(others=True), Serves(tags=("gpu",)), Serves(untagged=False, tags=("gpu", "big")),
    Serves(tags=("gpu",), others=True), Serves(untagged=False), Serves(sessions=1, session_idle_us=1_000_000),
    Serves(others=True, sessions=2, session_idle_us=4_000_000), Serves(sessions=0),
)  # fmt: skip
LEASES_US = (1_000_000, 5_000_000, 60_000_000, 600_000_000)
MOVES_US = (0, 1, 1, 700, 100_000, 1_000_000, 2_000_000, 6_000_000, 11_000_000, 61_000_000, -1, -500_000, -4_000_000)
SPANS_US = (0, 700_000, 2_000_000, 12_000_000)
USUAL = {
    "work": 60,
    "client": 20,
    "move": 14,
    "register": 4,
    "heartbeat": 3,
    "unregister": 1,
    "reap": 3,
    "ask": 2,
    "stand": 3,
    "find": 3,
}


class Author:
    """Writes one step after the other, and reads the answers."""

    def __init__(self, seed: int, *, faults: bool = False) -> None:
        self._faults = faults
        self._dice = Dice(seed)
        self._book = Book(self._dice)
        self._items = Items(self._dice, self._book)
        # Each tape is about some things more than about others: what is rare together is seldom tried otherwise.
        self._weights = {kind: weight * self._dice.pick((1, 1, 1, 3)) for kind, weight in USUAL.items()}
        self._tokens: list[bytes] = [b"never sent, 16 b"]
        self._labels: list[int] = []
        self._alive: list[int] = []
        self._writers: dict[str, Callable[[], Call]] = {
            "client": self._client,
            "register": self._register,
            "find": self._find,
        }

    def next(self) -> Step:
        """The next step."""
        call = self._call()
        # The other calls are few, and many of them have nothing to write that could fail.
        if self._faults and isinstance(call, WRITES) and self._dice.chance(15 if isinstance(call, Commit) else 60):
            return Faulty(call=call, fault=self._dice.pick(tuple(Fault)))
        return call

    def _call(self) -> Call:
        dice = self._dice
        if not self._labels:
            return self._register()
        label = dice.pick(self._alive if self._alive and dice.chance(93) else self._labels)
        kind = dice.weighted(self._weights)
        if kind in self._writers:
            return self._writers[kind]()
        match kind:
            case "work":
                return self._work(label)
            case "heartbeat":
                return Heartbeat(label=label)
            case "unregister":
                return Unregister(label=label)
            case "reap":
                return Reap(label=label)
            case "ask":
                return Ask(label=label, token=dice.pick(self._tokens[-3:]))
            case "stand":
                return Stand(label=label, tasks=dice.some(tuple(self._book.tasks), 8))
            case _:
                return Move(us=dice.pick(MOVES_US))

    def last(self) -> list[Step]:
        """Steps that bring to light what no read shows: somebody who can do all takes all that will ever be due."""
        everybody = Register(
            label=1_000, orchestrations=VERSIONS, activities=ACTIVITIES, lease_us=10**12, serves=Serves(others=True)
        )
        claim = Claim(instances_max=1_000, tasks_max=1_000)
        take = Commit(label=1_000, token=b"at last 16 bytes", items=(), consume=(), claim=claim)
        return [Move(us=10**10), everybody, take, Move(us=10**11), Reap(label=1_000), take]

    def read(self, step: Step, answer: object, records: list[InstanceRecord], workers: list[WorkerRecord]) -> None:
        """Learn from the answer to a step, and from what the store then holds."""
        if isinstance(step, Faulty):
            step = step.call
        self._book.records = {each.id: each for each in records}
        self._alive = [each.worker for each in workers]
        if isinstance(step, Commit) and isinstance(answer, Committed):
            self._book.now = answer.now
            if answer.work is not None:
                self._book.learn(answer.work, step.label)

    def _register(self) -> Register:
        label = len(self._labels) + 1
        self._labels.append(label)
        return Register(
            label=label,
            orchestrations=self._dice.some(VERSIONS, 3) if self._dice.chance(60) else VERSIONS,
            activities=self._dice.some(ACTIVITIES, 3) if self._dice.chance(60) else ACTIVITIES,
            lease_us=self._dice.pick(LEASES_US),
            serves=self._dice.pick(SERVED),
        )

    def _work(self, label: int) -> Commit:
        """A worker's batch: turns of what it owns, outcomes of what it runs, and new work."""
        items = [self._items.of_worker(label) for _ in range(self._dice.below(4))]
        if self._dice.chance(25):
            items.append((self._items.of_client(), ()))
        claim = None
        if self._dice.chance(85):
            claim = Claim(instances_max=self._dice.pick((0, 1, 2, 20)), tasks_max=self._dice.pick((0, 1, 3, 20)))
        return self._commit(label, items, claim)

    def _client(self) -> Commit:
        items: list[tuple[Item, tuple[bytes, ...]]] = [
            (self._items.of_client(), ()) for _ in range(1 + self._dice.below(3))
        ]
        if self._dice.chance(5) and self._labels:
            items.append(self._items.of_worker(self._labels[0]))
        return self._commit(None, items, None)

    def _commit(self, label: int | None, items: list[tuple[Item, tuple[bytes, ...]]], claim: Claim | None) -> Commit:
        token = b"token %10d" % len(self._tokens)
        self._tokens.append(token)
        return Commit(
            label=label,
            token=token,
            items=tuple(item for item, _ in items),
            consume=tuple(bodies for _, bodies in items),
            claim=claim,
        )

    def _find(self) -> Find:
        dice = self._dice
        query = Query(
            statuses=dice.some(tuple(Status), 3) if dice.chance(50) else (),
            name=dice.pick(("red", "blue")) if dice.chance(30) else None,
            version=dice.pick(("1.0.0", "2.0.0")) if dice.chance(30) else None,
            attributes={"size": dice.below(3)} if dice.chance(30) else {},
            created_from=self._book.now - dice.pick(SPANS_US) if dice.chance(15) else None,
            created_before=self._book.now - dice.pick(SPANS_US) if dice.chance(15) else None,
            updated_from=self._book.now - dice.pick(SPANS_US) if dice.chance(15) else None,
            updated_before=self._book.now - dice.pick(SPANS_US) if dice.chance(15) else None,
            parent=dice.pick(IDS) if dice.chance(15) else None,
            root=dice.pick(IDS) if dice.chance(15) else None,
            roots_only=dice.chance(20),
            limit=dice.pick((1, 2, 5, 100)),
            rows_max=dice.pick((1, 2, 5)) if dice.chance(30) else PAGE_ROWS_MAX,
        )
        return Find(query=query)
