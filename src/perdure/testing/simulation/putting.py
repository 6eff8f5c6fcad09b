"""What has to hold when an instance is set aside, brought back, put back in its history, or made of another's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from perdure import _work as work
from perdure._types import Status, idempotency_key
from perdure.testing.simulation.chronicle import Chronicle
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from perdure.storage.memory.rows import InstanceRow
    from perdure.testing.simulation.checks import Checks


def suspended(checks: Checks, item: work.Suspend, _: work.Applied, __: int | None, ___: int, touched: set[int]) -> None:
    """An operator has set an instance aside."""
    incarnation = checks.by_id[item.id]
    row = checks._tables.instances.get(incarnation)  # noqa: SLF001 - its own
    if item.instead_of is not None and (row is None or row.record.held_because != item.reason):
        # It was not suspended for the reason that was to go.
        return
    if not item.keep or incarnation not in checks.suspended:
        checks.ledger.release(incarnation)
    checks.suspended.add(incarnation)
    if item.tasks == "all":
        checks.ledger.release_tasks(_tasks_of(checks, incarnation))
    touched.add(incarnation)


def resumed(checks: Checks, item: work.Resume, _: work.Applied, __: int | None, ___: int, touched: set[int]) -> None:
    """An operator has brought an instance back, or an activity of it."""
    incarnation = checks.by_id[item.id]
    touched.add(incarnation)
    # One that was set aside for another reason than the one that is named stays so.
    if item.event is None and (item.reason is None or checks.status_of(incarnation) is not Status.SUSPENDED):
        checks.suspended.discard(incarnation)
    if item.repeat is not None:
        chronicle = checks.chronicles[incarnation]
        checks.begun.pop((incarnation, chronicle.execution, item.event or 0), None)


def decided(
    checks: Checks, item: work.TaskDiscard, _: work.Applied, __: int | None, ___: int, touched: set[int]
) -> None:
    """Somebody has said what came of an activity."""
    checks.begun.pop((item.incarnation, item.execution, item.event), None)
    touched.add(item.incarnation)


def deleted(checks: Checks, item: work.Delete, outcome: work.Applied, _: int | None, __: int, ___: set[int]) -> None:
    """An instance is no more, and all that is below it."""
    tree = [checks.by_id[item.id]]
    known = [*checks.here(checks.chronicles), *checks.here(checks.closed)]
    for incarnation in tree:
        tree += [
            each.incarnation for each in known if each.parent is not None and each.parent.incarnation == incarnation
        ]
    if outcome.count != len(tree):
        raise Violation(f"deleting {item.id} removed {outcome.count} instances where it has {len(tree)}")
    if not item.force and any(incarnation in checks.chronicles for incarnation in tree):
        raise Violation(f"{item.id} was deleted, and not all of its tree had ended")
    for incarnation in tree:
        checks.remove(incarnation)


def pruned(checks: Checks, item: work.Prune, outcome: work.Applied, _: int | None, __: int, touched: set[int]) -> None:
    """Past executions of an instance have lost their histories."""
    number = checks.by_id[item.id]
    chronicle = checks.chronicles.get(number) or checks.closed[number]
    gone = {each for each in chronicle.histories if each <= chronicle.execution - item.keep}
    if outcome.count != len(gone):
        raise Violation(f"{item.id}: {outcome.count} executions were pruned, where {gone} were too many")
    chronicle.histories -= gone
    touched.add(number)


def check_histories(chronicle: Chronicle, row: InstanceRow) -> None:
    """No execution has lost its history unasked."""
    kept = {execution for execution, rows in row.history.items() if rows}
    if kept != chronicle.histories:
        raise Violation(f"{chronicle.instance_id} has histories of {kept}, and should have of {chronicle.histories}")


def check_shown(chronicle: Chronicle, row: InstanceRow) -> None:
    """What others can read of an instance is what its history says."""
    record = row.record
    kept = {
        key: work.unsealed(value, "a value") for (shelf, key), (value, _) in row.entries.items() if shelf == work.VALUES
    }
    status = None if record.custom_status is None else work.unsealed(record.custom_status, "a custom status")
    shown = (kept, status, record.custom_status_version)
    said = (chronicle.values, chronicle.status, chronicle.status_version)
    if shown != said:
        raise Violation(f"{chronicle.instance_id} shows {shown}; its history says {said}")


def put(checks: Checks, item: work.Put, _: work.Applied, __: int | None, ___: int, touched: set[int]) -> None:
    """Instances were written, in place of others or as new ones."""
    if checks.arrives(item):
        touched.update(image.record.incarnation for image in item.images)
        return
    before: dict[int, tuple[Chronicle, dict[str, int]]] = {}
    for stamp in item.instead_of:
        number = stamp.incarnation
        if _tasks_of(checks, number):
            raise Violation(f"instance {number} was put back while a worker runs an activity of it")
        chronicle = checks.chronicles.get(number) or checks.closed[number]
        before[number] = chronicle, dict(checks.mail.get(number, {}))
        checks.remove(number)
    for image in item.images:
        number = image.record.incarnation
        if checks.by_id.get(image.record.id) is not None:
            raise Violation(f"{image.record.id} ({number}) was written where there is one")
        anew = Chronicle.of_image(image, checks.stage)
        if number in before:
            _check_back(checks, image, anew, *before[number])
        else:
            _check_fork(checks, image, anew)
        take_in(checks, image, anew)
        touched.add(number)


def moved_out(checks: Checks, item: work.MoveOut, _: work.Applied, __: int | None, ___: int, ____: set[int]) -> None:
    """Instances are elsewhere from now on."""
    for stamp in item.stamps:
        checks.departs(stamp.incarnation)


def _tasks_of(checks: Checks, incarnation: int) -> list[Any]:
    return [key for key in checks.ledger.task_owner if key[0] == incarnation]


def take_in(checks: Checks, image: work.InstanceImage, anew: Chronicle) -> None:
    """Keep the books of an instance as it was written."""
    number = image.record.incarnation
    checks.chronicles[number] = anew
    checks.by_id[image.record.id] = number
    checks.endings.pop(number, None)
    checks.mail[number] = dict(mail_of(image))
    checks.stored_mail.update(checks.mail[number])
    checks.put_back.add(image.record.id)
    (checks.suspended.add if image.record.status is Status.SUSPENDED else checks.suspended.discard)(number)
    # What it had stays its own, whoever has a place meanwhile.
    checks.crowded.update(each.limit_key or "" for each in image.tasks if each.is_given)
    for task in image.tasks:
        if task.began_at is not None:
            checks.begun[number, task.execution, task.event] = task.began_at


def mail_of(image: work.InstanceImage) -> Counter[str]:
    """The external events that wait for it, by their data."""
    messages = [work.decode_message(each.body) for each in image.messages]
    return Counter(bytes(each.data).decode() for each in messages if isinstance(each, work.Raised))


def _check_back(
    checks: Checks, image: work.InstanceImage, anew: Chronicle, old: Chronicle, waited: dict[str, int]
) -> None:
    """Nothing that it was told is lost or comes twice; who was called and not heard of is not called unasked."""
    record = image.record
    if (anew.execution, old.first_input) != (old.execution, anew.first_input or old.first_input):
        raise Violation(f"{record.id} went back from execution {old.execution} to {anew.execution}")
    told = Counter(old.raised[old.begins :])
    told.subtract(anew.raised[anew.begins :])
    wanted = told + Counter({} if old.is_closed else waited)
    if wanted != mail_of(image):
        raise Violation(f"{record.id} went back and is told {mail_of(image)}; it had been told {wanted}")
    if record.custom_status_version != old.status_version + (anew.status != old.status):
        raise Violation(f"the custom status of {record.id} went from version {old.status_version} to that of {record}")
    anew.status_version = record.custom_status_version
    anew.first_input = old.first_input
    kept = {task.event for task in image.tasks if task.began_at is not None}
    number = record.incarnation
    begun = [key for key in checks.begun if key[0] == number]
    for key in begun:
        stays = key[1] == anew.execution and key[2] in anew.tasks and not old.is_closed
        if stays and key[2] not in kept | old.answered:
            raise Violation(f"{record.id} went back, and forgot that the activity {key[2]} was about to be called")
        del checks.begun[key]
    # What was asked for behind the cut is asked for again; what was given up there runs again, and what had failed,
    # whether the instance had heard of it or not, and what was open when it ended. All that was decided.
    over = old.given_up | {
        event for event in old.asked if old.is_closed or (number, anew.execution, event) not in begun
    }
    for event in old.asked:
        if event not in anew.asked or (event in over and event in anew.tasks):
            checks.repeatable.add(idempotency_key(number, anew.execution, event))


def _check_fork(checks: Checks, image: work.InstanceImage, anew: Chronicle) -> None:
    """It has nobody's incarnation, and of the other one only what its history says."""
    record = image.record
    if record.incarnation in checks.chronicles or record.incarnation in checks.closed:
        raise Violation(f"{record.id} was forked under an incarnation that is taken")
    if record.parent is not None or mail_of(image):
        raise Violation(f"{record.id} was forked with a parent or with mail")
    anew.status_version = record.custom_status_version
    if anew.cancel_requested:
        checks.cancels.add(record.incarnation)
    source = anew.forked_from
    known = None if source is None else checks.chronicles.get(source) or checks.closed.get(source)
    anew.first_input = anew.first_input or (None if known is None else known.first_input)
