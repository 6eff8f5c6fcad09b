"""What a claim may take of the lanes: see `storage/lanes.py`.

Laws kept here: no key has more tasks with an owner than its concurrency, and no more begin within its span of time than
its rate, by the numbers that were declared last; who came first is first. Both are counted in the transaction that
claims, and the write lock is its own.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from perdure._work import Serves
from perdure.storage.lanes import Lane, read_lane
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.sessions import Sessions
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

Rank: TypeAlias = tuple[int, ...]
"""Where a task stands: minus its priority, when it was scheduled, incarnation, execution, event."""

HELD_BY_INSTANCE = 0
"""The owner of a place that an instance holds: no worker has this number."""

_ALL = -1
"""No limit to the rows of a statement."""


class _Limit:
    """A limit as it is in force, and how it is used."""

    def __init__(self, concurrency: int | None, rate: int | None, per_us: int, running: int) -> None:
        self._concurrency = concurrency
        self.rate = rate
        self.per_us = per_us
        self._running = running
        self.starts: list[tuple[int, int]] = []
        """When how many began, the latest first."""

    def free(self, now: int) -> int:
        """How many may begin now; `_ALL` for any number."""
        free = [] if self._concurrency is None else [self._concurrency - self._running]
        if self.rate is not None:
            free.append(self.rate - sum(many for at, many in self.starts if at > now - self.per_us))
        return max(min(free), 0) if free else _ALL

    def begin(self, many: int, now: int) -> None:
        """So many have begun."""
        self._running += many
        self.starts.insert(0, (now, many))

    def opens_at(self) -> int | None:
        """From when on there is a place, if nothing else changes; None: now, or time alone brings none."""
        if self.rate is None or (self._concurrency is not None and self._running >= self._concurrency):
            return None
        begun = 0
        for at, many in self.starts:
            begun += many
            if begun >= self.rate:
                return at + self.per_us
        return None


class Lanes:
    """The lanes in one claim: `admit` what has a place, then `begin` what was taken of it."""

    def __init__(self, transaction: Transaction, serves: Serves) -> None:
        self._transaction = transaction
        self._serves = serves
        self._limits: dict[str, _Limit] = {}
        self._of_sessions: list[tuple[str, Lane]] = []
        self.sessions: Sessions | None = None
        """None as long as nothing waits that has one."""
        self.tasks: dict[Rank, str | None] = {}
        """The activities that the worker may take, with their limit keys."""

    def admit(self, most: int) -> bool:
        """Find what the worker may take, and give places to instances; whether there were any of those."""
        transaction = self._transaction
        if transaction.execute(STATEMENTS["can_wake_lanes"], (transaction.now,)).get:
            transaction.execute(STATEMENTS["wake_lanes"], (transaction.now,))
        lanes = []
        for name, concurrency, per_time, running in transaction.ask(STATEMENTS["lanes"]):
            lane = read_lane(name)
            lanes.append((name, lane))
            if lane.key is not None:
                rate, per_us = per_time
                self._limits[lane.key] = _Limit(concurrency, rate, per_us, running)
        self._read_starts()
        lanes = [(name, lane) for name, lane in lanes if lane.places or self._serves.takes(lane.tag)]
        self._of_sessions = [(name, lane) for name, lane in lanes if lane.sessions]
        if self._of_sessions:
            self.sessions = Sessions(transaction, self._serves)
            self.sessions.look(self._open_lanes())
        by_key: dict[str | None, list[tuple[str, Lane]]] = {}
        for name, lane in lanes:
            by_key.setdefault(lane.key, []).append((name, lane))
        places: dict[Rank, str] = {}
        for key, of_key in by_key.items():
            places |= self._admit_key(key, of_key, most)
        if places:
            self._give(places)
        return bool(places)

    def begin(self, ranks: Iterable[Rank]) -> None:
        """These were taken."""
        counts = Counter(key for rank in ranks if (key := self.tasks.get(rank)) is not None)
        self._begin(counts)

    def use(self, sessions: set[str]) -> None:
        """Tasks of these were taken."""
        if self.sessions is not None and sessions:
            self.sessions.use(sessions, self._open_lanes())

    def _open_lanes(self) -> list[str]:
        """The lanes of sessions in which a task may begin."""
        now = self._transaction.now
        return [name for name, lane in self._of_sessions if lane.key is None or self._limits[lane.key].free(now)]

    def next_opening(self) -> int | None:
        """When the rate of a key for which something waits lets another begin."""
        if all(limit.rate is None for limit in self._limits.values()):
            return None
        waiting = {read_lane(name).key for name, *_ in self._transaction.ask(STATEMENTS["lanes"])}
        opens = [limit.opens_at() for key, limit in self._limits.items() if key in waiting]
        return min((at for at in opens if at is not None and at > self._transaction.now), default=None)

    def _read_starts(self) -> None:
        rated = [key for key, limit in self._limits.items() if limit.rate is not None]
        if rated:
            for key, at, many in self._transaction.ask(STATEMENTS["starts"], encode_rows(sorted(rated))):
                self._limits[key].starts.append((at, many))

    def _admit_key(self, key: str | None, lanes: list[tuple[str, Lane]], most: int) -> dict[Rank, str]:
        """Take note of the activities of a key that have a place; returns the places that instances shall have."""
        transaction = self._transaction
        free = _ALL if key is None else self._limits[key].free(transaction.now)
        if free == 0:
            return {}
        # With places in between, how many come before them must be known.
        needed = free if any(lane.places for _, lane in lanes) or 0 <= free <= most else most + 1
        found: list[tuple[Rank, bool]] = []
        for name, lane in lanes:
            found += [(tuple(rank), lane.places) for rank in self._first_of(name, lane, needed)]
        found.sort()
        admitted = found if free == _ALL else found[:free]
        self.tasks |= {rank: key for rank, is_place in admitted if not is_place}
        return {rank: key for rank, is_place in admitted if is_place and key is not None}

    def _first_of(self, name: str, lane: Lane, many: int) -> list[list[int]]:
        ask, now, worker = self._transaction.ask, self._transaction.now, self._transaction.worker
        found: list[list[int]]
        if lane.places:
            found = ask(STATEMENTS["places_in_lane"], now, many, name)
        elif self.sessions is not None and lane.sessions:
            found = ask(STATEMENTS["tasks_of_sessions_in_lane"], now, worker, many, name, self.sessions.open)
        else:
            found = ask(STATEMENTS["tasks_in_lane"], now, worker, many, name)
        return found

    def _give(self, places: dict[Rank, str]) -> None:
        transaction = self._transaction
        rows = encode_rows([rank[2:] for rank in sorted(places)])
        transaction.execute(STATEMENTS["give_places"], (rows, transaction.now))
        transaction.execute(STATEMENTS["own_tasks"], (rows, HELD_BY_INSTANCE))
        self._begin(Counter(places.values()))

    def _begin(self, counts: Counter[str]) -> None:
        now = self._transaction.now
        for key, many in counts.items():
            self._limits[key].begin(many, now)
        begun = [
            (key, many, limit.per_us) for key, many in counts.items() if (limit := self._limits[key]).rate is not None
        ]
        if begun:
            self._transaction.execute(STATEMENTS["count_starts"], (encode_rows(begun), now))
