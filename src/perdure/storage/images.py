"""What becomes of images that are written: judged alike in every store, on what each has found."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from perdure._types import Status
from perdure._work import Applied, InstanceImage, InstanceRecord, Outcome, Put, Refusal, Refused, Stamp, stamp_of


class Present(Struct, frozen=True, gc=False, kw_only=True):
    """An instance of the store, how much waits for it, and whether a worker runs a task of it."""

    record: InstanceRecord
    messages: int
    tasks: int
    running: bool


def moved_on(stamps: Sequence[Stamp], found: Mapping[int, Present]) -> Refused | None:
    """Why instances can't be taken away as they stood, if so."""
    for stamp in stamps:
        present = found.get(stamp.incarnation)
        if present is None or stamp_of(present.record, present.messages, present.tasks) != stamp:
            return Refused(reason=Refusal.STALE)
    if any(found[stamp.incarnation].running for stamp in stamps):
        return Refused(reason=Refusal.RUNNING)
    return None


def going(item: Put, found: Mapping[int, Present]) -> Outcome | dict[int, InstanceRecord]:
    """The instances that go for those of the item, or what is said instead of applying it.

    Args:
        item: What is to be written.
        found: By incarnation, all that have an id or an incarnation of the item's images, or are named by it.
    """
    refused = moved_on(item.instead_of, found)
    if refused is not None:
        return refused
    if any(each not in found or found[each].record.status.is_closed for each in item.while_open):
        return Refused(reason=Refusal.STALE)
    by_id = {present.record.id: present.record for present in found.values()}
    gone = {stamp.incarnation: found[stamp.incarnation].record for stamp in item.instead_of}
    for image in item.images:
        incarnation = image.record.incarnation
        holder = by_id.get(image.record.id)
        if holder is not None and holder.incarnation not in gone:
            settled = _meet(item, holder, is_same=holder.incarnation == incarnation)
            if settled is not None:
                return settled
            gone[holder.incarnation] = holder
        if incarnation in found and incarnation not in gone:
            return Refused(reason=Refusal.INCARNATION)
    return gone


def _meet(item: Put, holder: InstanceRecord, *, is_same: bool) -> Outcome | None:
    """What an instance says to the one that has its id; None: it comes in its place."""
    if is_same and holder.status is Status.MOVED and item.on_conflict != "named":
        return None
    if item.on_conflict == "skip":
        return Applied(existing=holder)
    may_go = holder.status.is_closed or (is_same and holder.status is Status.SUSPENDED)
    if item.on_conflict == "replace" and may_go:
        return None
    return Refused(reason=Refusal.EXISTS, existing=holder)


def arriving(item: Put, gone: Mapping[int, InstanceRecord], now: int) -> list[InstanceImage]:
    """The images as they are to be written, in place of those that go."""
    instead = {stamp.incarnation for stamp in item.instead_of}
    images = []
    for image in item.images:
        record = image.record
        before = gone.get(record.incarnation)
        if before is not None:
            record = replace(record, resets=1 + max(record.resets, before.resets))
        if record.incarnation in instead:
            record = replace(record, updated_at=max(now, record.updated_at))
        images.append(replace(image, record=replace(record, owner=None)))
    return images
