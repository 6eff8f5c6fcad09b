"""What the records that storage and runtime exchange say of themselves."""

import pytest
from msgspec.structs import replace

from perdure import Status
from perdure._work import HistoryRow, InstanceChange, InstanceImage, InstanceRecord, MessageImage, Serves, Turn


@pytest.mark.parametrize(
    ("serves", "taken"),
    [
        (Serves(), {None}),
        (Serves(tags=("gpu",)), {None, "gpu"}),
        (Serves(tags=("gpu",), untagged=False), {"gpu"}),
        (Serves(tags=("gpu",), others=True), {None, "tpu"}),
    ],
)
def test_a_worker_takes_the_activities_whose_tag_it_serves(serves, taken):
    assert {tag for tag in (None, "gpu", "tpu") if serves.takes(tag)} == taken


def test_the_stamp_of_an_instance_changes_with_whatever_may_happen_to_it():
    record = InstanceRecord(
        id="a", incarnation=7, name="pay", version=None, status=Status.PENDING, execution=1, created_at=5, updated_at=6
    )
    image = InstanceImage(record=record, ready_at=0)
    changed = [
        replace(image, record=replace(record, updated_at=8)),
        replace(image, record=replace(record, last_event=3)),
        replace(image, record=replace(record, resets=1)),
        replace(image, messages=(MessageImage(due_at=0, body=b"{}"),)),
    ]
    assert image.stamp == replace(image).stamp
    assert image.stamp not in {each.stamp for each in changed}


@pytest.mark.parametrize(
    ("history", "status", "runs"),
    [
        (True, None, True),
        (True, Status.COMPLETED, True),
        (True, Status.TERMINATED, False),
        (False, Status.SUSPENDED, False),
    ],
)
def test_a_turn_says_whether_the_program_has_gone_on_in_it(history, status, runs):
    row = HistoryRow(first=1, last=1, at=0, data=b"[]", crc=0)
    change = None if status is None else InstanceChange(status=status)

    turn = Turn(incarnation=7, execution=1, base=0, history=row if history else None, change=change)

    assert turn.runs is runs
