"""Letters: events to one life of an id, by the handle that its start returned. No other life may get one."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._client.handle import OrchestrationHandle
from perdure.codec import codec_for
from perdure.errors import InstanceClosedError, InstanceNotFoundError
from perdure.testing.simulation.errands import Errand
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.programs import MAILBOXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._client import Client
    from perdure.testing._dice import Dice
    from perdure.testing.simulation.world import World

ADDRESSED = 6
"""The last digit of the seeds of worlds in which users write letters, and replace whom they write to."""

_SPAN_US = 15_000_000
_LETTER = re.compile(r"!(\d+)#")


def check_letter(incarnation: int, text: str) -> None:
    """Refuse that a letter to another life has come here."""
    to = _LETTER.search(text)
    if to is not None and int(to[1]) != incarnation:
        raise Violation(f"the letter {text} has reached {incarnation}")


class Letters:
    """Those to one id. `lives` are the incarnations of which a start has told a user."""

    def __init__(self, world: World, instance_id: str, dice: Dice) -> None:
        self._world = world
        self._instance_id = instance_id
        self._dice = dice
        self._written = 0
        self.lives: list[int] = []

    def plan(self, begin: int, restart: Callable[[Any], None]) -> None:
        """Announce when they are written, and when somebody else gets the id, if this is a world for that."""
        if self._world.seed % 10 != ADDRESSED:
            return
        dice, timeline = self._dice, self._world.timeline
        for _ in range(1 + dice.below(3)):
            timeline.at(begin + dice.below(_SPAN_US), restart)
        for _ in range(3 + dice.below(6)):
            timeline.at(begin + dice.below(_SPAN_US), self._write)

    def started(self, handle: Any) -> None:
        """A start has told of this life."""
        self.lives.append(handle._receiver.incarnation)  # noqa: SLF001 - what it is of is nobody's business else

    def _write(self, _: Any) -> None:
        if not self.lives:
            return
        dice = self._dice
        life = dice.pick(self.lives)
        self._written += 1
        text = f"{self._instance_id}!{life}#{self._written}"
        mailbox = dice.pick(MAILBOXES)
        key = text if dice.chance(50) else None

        async def write(client: Client) -> None:
            # The handle itself went with the process that had asked for the start.
            gateway = client._opened()  # noqa: SLF001 - nobody else makes handles
            handle = OrchestrationHandle[Any](gateway, self._instance_id, codec_for(Any), life)
            await handle.raise_event(mailbox, text, dedup_key=key)

        told = partial(self._told, life, text)
        Errand(self._world, f"write {text} to {mailbox}", write, told, may_repeat=key is not None).run()

    def _told(self, life: int, text: str, _: None, error: BaseException | None) -> None:
        checks = self._world.checks
        has_ended = life in checks.gone_for_good or life in checks.closed
        if error is None:
            if not has_ended and f'"{text}"' not in checks.stored_mail:
                raise Violation(f"the letter {text} was acknowledged, and nowhere stored")
        elif isinstance(error, InstanceNotFoundError):
            if life not in checks.gone_for_good:
                raise Violation(f"the letter {text} was refused ({error!r}), and nobody has replaced {life}")
        elif not isinstance(error, InstanceClosedError) or not has_ended:
            raise Violation(f"the letter {text} was refused: {error!r}")
