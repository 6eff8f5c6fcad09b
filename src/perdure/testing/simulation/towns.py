"""Two simulated stores, between which instances move while workers run on both.

An instance lives in one of them: where it was started, until that store says that it has moved. Nothing of it goes on
in the other before, and what is there then is what was here: the books of both are compared.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from perdure import _work as work
from perdure._core.stage import Stage
from perdure._types import Status
from perdure.testing.simulation import putting
from perdure.testing.simulation.checks import Checks
from perdure.testing.simulation.chronicle import Chronicle
from perdure.testing.simulation.haulage import Haulage
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.tenants import Tenant
from perdure.testing.simulation.timeline import Timeline
from perdure.testing.simulation.world import REST_US, SETTLE_US_MAX, World, quiet

MOVING = 14
MOVING_EVERY = 20
"""The seeds of worlds that are two are these: they cost as much as three others."""

_OTHER = 1 << 50
_KINDS = 10
_SKEW_US_MAX = 2_000_000


class TownChecks(Checks):
    """The books on one of two stores."""

    beside: TownChecks
    lives: dict[int, TownChecks]
    """Where each instance lives; the same for both."""

    def begin(self, beside: TownChecks, lives: dict[int, TownChecks]) -> None:
        """Know each other."""
        self.beside, self.lives = beside, lives
        self._resumed: set[tuple[int, int]] = set()
        self.set_aside: set[int] = beside.__dict__.get("set_aside", set())
        """What persons have suspended, in either store."""
        # Whatever was sent once arrives once, wherever that is.
        self.stored_mail = beside.stored_mail

    def known(self, incarnation: int) -> Chronicle | None:
        """What is known of an instance, whether it lives here or not."""
        return self.chronicles.get(incarnation) or self.closed.get(incarnation)

    def open_here(self) -> list[Chronicle]:
        """Who lives here and has not ended."""
        return [each for number, each in self.chronicles.items() if self.lives.get(number) is self]

    def committed(self, batch: work.Batch, answer: work.Committed) -> None:
        """A batch was applied: only who lives here may have gone on."""
        for item, outcome in zip(batch.items, answer.outcomes, strict=True):
            if isinstance(item, work.Deliver) and isinstance(outcome, work.Applied):
                self._is_told(item)
        super().committed(batch, answer)
        for item, outcome in zip(batch.items, answer.outcomes, strict=True):
            if isinstance(outcome, work.Applied):
                self._look_at(item)
        if answer.work is None:
            return
        for instance in answer.work.instances:
            self._must_live(instance.record.incarnation, "was handed out")
        for task in answer.work.tasks:
            # What is too late is for anybody, to say so.
            is_late = task.deadline is not None and task.deadline <= answer.work.now
            if not is_late and (task.incarnation, task.event) not in self._resumed:
                self._must_live(task.incarnation, f"had its activity {task.event} handed out")

    def _look_at(self, item: work.Item) -> None:
        match item:
            case work.Turn() if item.history is not None:
                self._must_live(item.incarnation, "took a turn")
                if item.runs and item.incarnation in self.set_aside:
                    raise Violation(f"instance {item.incarnation} went on, and a person has suspended it")
            case work.Suspend(reason="simulated", instead_of=None):
                if self.lives.get(self.by_id[item.id]) is self:
                    self.set_aside.add(self.by_id[item.id])
            case work.Resume(event=None, reason=None):
                self.set_aside.discard(self.by_id[item.id])
            case work.Resume() if item.event is not None:
                # Who has looked before it moved decides about a copy.
                self._resumed.add((self.by_id[item.id], item.event))

    def _is_told(self, item: work.Deliver) -> None:
        """Whoever is told something lives here: what a copy is told would go when it is written anew."""
        incarnation = self.by_id.get(item.to_id, 0)
        is_known = item.dedup_key is not None and (incarnation, item.dedup_key) in self.dedup
        if incarnation and not is_known and self.lives.get(incarnation) is not self:
            raise Violation(f"a message to {item.to_id} was accepted where it does not live")

    def addressed(self, message: work.OutMessage) -> int | None:
        """Who gets a message by id: no copy, unless its family sends it."""
        receiver = super().addressed(message)
        row = self._tables.instances.get(receiver or 0)
        is_copy = row is not None and work.is_copy(row.record.status, row.record.held_because)
        return None if is_copy and message.child_of is None else receiver

    def _must_live(self, incarnation: int, what: str) -> None:
        if self.lives.get(incarnation) is not self:
            raise Violation(f"instance {incarnation} {what} in a store that it does not live in")

    def born(self, new: work.NewInstance, touched: set[int]) -> Chronicle:
        """One begins to live here."""
        self.lives[new.incarnation] = self
        return super().born(new, touched)

    def key_of(self, instance_id: str, event: int) -> str | None:
        """Nobody decides about an activity of a copy."""
        lives_here = self.lives.get(self.by_id.get(instance_id, 0)) is self
        return super().key_of(instance_id, event) if lives_here else None

    # -- who comes and goes ----------------------------------------------------------------------------------------

    def arrives(self, item: work.Put) -> bool:
        """Copies of what lives in the other store; they do nothing until they live here."""
        coming = {image.record.incarnation for image in item.images}
        for stamp in item.instead_of:
            if stamp.incarnation not in coming:
                raise Violation(f"instance {stamp.incarnation} was removed for others")
        for image in item.images:
            home = self.lives.get(image.record.incarnation)
            if home is None:
                raise Violation(f"{image.record.id} has come from nowhere")
            if home is self:
                self._comes_again(image)
            else:
                self._arrives(image, home)
        return True

    def _arrives(self, image: work.InstanceImage, home: TownChecks) -> None:
        number = image.record.incarnation
        self._forget(image)
        anew = Chronicle.of_image(image, self.stage)
        anew.status_version = image.record.custom_status_version
        if anew.last == 0:
            source = home.known(number)
            assert source is not None  # noqa: S101 - it lives there
            anew.name, anew.version = source.name, source.version
        putting.take_in(self, image, anew)
        self.put_back.discard(image.record.id)
        self.dedup.update((number, key) for key in image.dedup_keys)
        for mine, its in ((self.cancels, home.cancels), (self.terminates, home.terminates)):
            mine.update({number} & its)
        if image.record.status.is_closed:
            self.closed[number] = self.chronicles.pop(number)
            self.mail.pop(number, None)
            self.endings[number] = home.endings[number]
        elif image.record.status is not Status.SUSPENDED:
            raise Violation(f"a copy of {image.record.id} was written that goes on at once: {image.record.status}")

    def _comes_again(self, image: work.InstanceImage) -> None:
        """Two who carry the same may write it twice, if nothing has happened to it between; what has ended stays so."""
        number = image.record.incarnation
        known = self.known(number)
        if number in self.closed and image.record.status.is_closed:
            return
        waits, anew = self._mail_of(number), Chronicle.of_image(image, self.stage)
        anew.drop(self.stage)
        told = {text: count for text, count in putting.mail_of(image).items() if count}
        if known is None or (known.execution, known.last, waits) != (anew.execution, anew.last, told):
            then, now = (each and (each.execution, each.last) for each in (anew, known))
            raise Violation(f"{image.record.id} was written over where it lives: {now} {waits} by {then} {told}")
        self.suspended.add(number)

    def _mail_of(self, incarnation: int) -> dict[str, int]:
        return {text: count for text, count in self.mail.get(incarnation, {}).items() if count}

    def _forget(self, image: work.InstanceImage) -> None:
        """An earlier copy goes, or what was left of it when it moved away."""
        number = image.record.incarnation
        present = self.by_id.get(image.record.id)
        if present not in (None, number):
            raise Violation(f"{image.record.id} ({number}) was written where {present} is")
        old = self.chronicles.pop(number, None) or self.closed.pop(number, None)
        if old is not None:
            old.drop(self.stage)
        self.away.discard(number)
        self.dedup = {each for each in self.dedup if each[0] != number}
        for key in [key for key in self.begun if key[0] == number]:
            del self.begun[key]

    def departs(self, incarnation: int) -> None:
        """From now on it lives in the other store, as it was here."""
        if incarnation in self.away:
            # It is said again of one that has not changed since.
            self.away.add(incarnation)
            self.beside.away.discard(incarnation)
            self.lives[incarnation] = self.beside
            return
        self._must_live(incarnation, "has moved")
        chronicle = self.known(incarnation)
        assert chronicle is not None  # noqa: S101 - it lives here
        there = self.beside.known(incarnation)
        if there is None:
            raise Violation(f"{chronicle.instance_id} has moved, and is not there")
        self._compare(chronicle, there)
        if any(key[0] == incarnation for key in self.ledger.task_owner):
            raise Violation(f"{chronicle.instance_id} has moved while a worker has an activity of it")
        self.ledger.release(incarnation)
        self.mail.pop(incarnation, None)
        chronicle.drop(self.stage)
        self.closed[incarnation] = chronicle
        self.chronicles.pop(incarnation, None)
        self.away.add(incarnation)
        self.lives[incarnation] = self.beside
        there.first_input = there.first_input or chronicle.first_input

    def _compare(self, chronicle: Chronicle, there: Chronicle) -> None:
        """What has come is what was here."""
        incarnation = chronicle.incarnation
        missing = Counter(self._mail_of(incarnation)) - Counter(self.beside._mail_of(incarnation))  # noqa: SLF001 - its own
        if missing:
            raise Violation(f"{chronicle.instance_id} has moved, and these external events have not: {missing}")
        keys = {key for key in self.dedup if key[0] == incarnation} - self.beside.dedup
        if keys:
            raise Violation(f"{chronicle.instance_id} has moved, and these keys have not: {keys}")
        # Also what a person has decided about them.
        begun = {key for key in self.begun.keys() ^ self.beside.begun.keys() if key[0] == incarnation}
        open_there = self.beside._tables.instances[incarnation].tasks  # noqa: SLF001 - its own
        wrong = [key for key in begun if key[1:] in open_there]
        if wrong:
            raise Violation(f"{chronicle.instance_id} has moved, and these were begun in one store only: {wrong}")
        facts = zip(_FACTS, self._facts(chronicle), self.beside._facts(there), strict=True)  # noqa: SLF001 - its own
        for what, ours, theirs in facts:
            if ours != theirs:
                raise Violation(f"{chronicle.instance_id} has moved: its {what} was {ours}, there it is {theirs}")

    def _facts(self, chronicle: Chronicle) -> tuple[Any, ...]:
        return (
            (chronicle.instance_id, chronicle.parent),
            (chronicle.execution, chronicle.last, chronicle.histories),
            (chronicle.raised, chronicle.begins),
            chronicle.is_closed,
            (sorted(chronicle.tasks), sorted(chronicle.places), sorted(chronicle.entered)),
            (chronicle.asked, chronicle.answered, chronicle.given_up),
            chronicle.timers,
            sorted(chronicle.children),
            (chronicle.waits, chronicle.updates),
            (chronicle.values, chronicle.status, chronicle.status_version),
        )


_FACTS = (
    "name",
    "history",
    "external events",
    "end",
    "open activities",
    "activities",
    "timers",
    "children",
    "waits",
    "state",
)


class Town(World):
    """One of two worlds that share their time."""

    books = TownChecks
    ROOT = Tenant  # type: ignore[assignment]  # who does some of what a `Root` does
    checks: TownChecks
    towns: tuple[Town, Town]
    letter = ""
    _off: list[int]
    _skew_us = 0

    def begin_beside(self, towns: tuple[Town, Town], letter: str) -> None:
        """Know the other, and oneself."""
        self.towns, self.letter = towns, letter
        # One that is hours behind would let nothing fall due that comes from the other.
        self._off = towns[0]._off  # noqa: SLF001 - its own
        self._skew_us = self.dice.below(2 * _SKEW_US_MAX) - _SKEW_US_MAX

    @property
    def clock_off_us(self) -> int:
        """What the store's clock differs by; those of both are set alike, but for a little."""
        return self._off[0] + self._skew_us

    @clock_off_us.setter
    def clock_off_us(self, us: int) -> None:
        if not hasattr(self, "_off"):
            self._off = [0]
        self._off[0] = us - self._skew_us

    @property
    def beside(self) -> Town:
        """The other."""
        first, second = self.towns
        return second if self is first else first

    def fail(self, error: BaseException) -> None:
        """What fails here fails there, too."""
        super().fail(error)
        for town in self.towns:
            town.failure = town.failure or self.failure

    def note(self, who: str, *what: Any) -> None:
        """Write into the trace that both share."""
        super().note(f"{self.letter}:{who}", *what)

    def _check_answers(self) -> None:
        """Who waits for a copy that nobody has moved waits in vain, and rightly."""
        checks = self.checks
        if all(checks.lives.get(number) is checks or number in checks.away for number in checks.by_id.values()):
            super()._check_answers()

    def _give(self, instance_id: str, mailbox: str) -> None:
        number = self.checks.by_id.get(instance_id, 0)
        if self.checks.lives.get(number) is self.checks:
            super()._give(instance_id, mailbox)

    def _gift(self) -> str:
        return f"{self.letter}-{super()._gift()}"


class Towns:
    """A world that is two, with those who carry instances from one to the other."""

    def __init__(
        self, seed: int, *, allowed: frozenset[str] | None = None, roots: frozenset[int] | None = None
    ) -> None:
        self.seed = seed
        self.timeline = Timeline()
        # On the reference alone: the seeds end in nothing that makes a world another kind.
        first = Town(seed * _KINDS + 1, allowed=allowed, roots=roots, timeline=self.timeline)
        second = Town(seed * _KINDS + 1 + _KINDS * _OTHER, allowed=allowed, roots=frozenset(), timeline=self.timeline)
        self.towns = first, second
        self.trace = second.trace = first.trace
        self.roots = second.roots = first.roots
        second.heal_at = first.heal_at
        second.outside.join(first.outside)
        lives: dict[int, TownChecks] = {}
        for town, letter in zip(self.towns, "ab", strict=True):
            town.begin_beside(self.towns, letter)
            town.checks.begin(town.beside.checks, lives)
        self.haulage = Haulage(seed, self.towns)

    @property
    def failure(self) -> BaseException | None:
        """What went wrong, None if all is well."""
        return self.towns[0].failure

    @property
    def happened(self) -> Counter[str]:
        """The faults of both, by their names."""
        return self.towns[0].faults.happened + self.towns[1].faults.happened

    def run(self) -> None:
        """Live through both ages."""
        first, second = self.towns
        end = first.heal_at + SETTLE_US_MAX
        with quiet(), Stage():
            try:
                for town in self.towns:
                    town.begin()
                self.haulage.begin()
                while self.failure is None and self.timeline.now < end:
                    self._live(end)
                    ended = self._ended()
                    first.go_on(REST_US, lambda: False)
                    if not self._is_busy() and self._ended() == ended:
                        break
                if self.failure is None:
                    self._judge()
            except Violation as violation:
                first.fail(violation)
            finally:
                self.haulage.end()
                first.end()
                second.end()

    def _ended(self) -> int:
        return sum(len(town.checks.endings) for town in self.towns)

    def _is_busy(self) -> bool:
        return self.haulage.is_busy or any(town.checks.open_here() for town in self.towns)

    def _live(self, until: int) -> None:
        timeline, first = self.timeline, self.towns[0]
        while self.failure is None:
            if first.faults.healed and not self._is_busy() and all(town.has_settled() for town in self.towns):
                return
            if not timeline.step(until):
                return
            first.lose_patience()

    def _judge(self) -> None:
        if self.haulage.is_busy:
            raise Violation(f"after healing these did not end: {self.haulage.under_way()}")
        stuck = [
            f"{each.instance_id} ({town.checks.status_of(each.incarnation)} in {town.letter})"
            for town in self.towns
            for each in town.checks.open_here()
        ]
        if stuck:
            raise Violation(f"after healing these did not end: {', '.join(stuck)}")
        for town in self.towns:
            # A copy that nobody has moved is nobody's.
            town.checks.drop_all()
            town.checks.chronicles.clear()
            town.checks.away |= town.checks.closed.keys() - {
                number for number, home in town.checks.lives.items() if home is town.checks
            }
            town.judge()
