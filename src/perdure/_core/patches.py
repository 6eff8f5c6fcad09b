"""Patches: one answer for each execution to whether a change of its code applies to it, which history remembers.

Laws kept here: the first call decides, and the answer holds for the whole execution. Live it is yes, and recorded as a
marker; on replay it is yes if history has the marker, and no where an older program has been without asking. A marker
that the code no longer asks about is passed over, so that a change which applies to all may lose its question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure._core.asks import Note
from perdure._core.callsite import where_asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure._core.execution import Execution


def is_patched(execution: Execution, patch_id: str) -> bool:
    """Whether the change applies; the first call of a live execution says so in history."""
    patches = execution.patches
    if patches is None:
        patches = execution.patches = {}
    answer = patches.get(patch_id)
    if answer is None:
        answer = patches[patch_id] = not execution.replaying
        if answer:
            # Not counted among what was asked for: ids are derived from that, and the question may go.
            execution.asks = [*(execution.asks or ()), Note(ev.Patched(id=0, where=where_asked(), patch=patch_id))]
    return answer


def take_markers(execution: Execution, recorded: Sequence[Any]) -> Sequence[Any]:
    """Learn what one run has recorded, before it is replayed; the rest is what the replay has to ask for."""
    markers = {event.patch: True for event in recorded if type(event) is ev.Patched}
    if not markers:
        return recorded
    execution.patches = (execution.patches or {}) | markers
    return [event for event in recorded if type(event) is not ev.Patched]
