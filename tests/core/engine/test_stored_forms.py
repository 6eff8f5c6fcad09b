"""What is stored of events and messages: short, the same again when it is read, and never with more than is needed."""

import msgspec
import pytest
from msgspec import Raw

from perdure import _events as ev
from perdure import _work as work
from perdure.errors import HistoryCorruptError
from tests.core.harness import error, json

PARENT = ev.Parent(instance_id="order-7", incarnation=2**62, execution=3, event=9)
MESSAGES = [
    work.Start(input=json([1])),
    work.Start(
        input=json([]), version="1.0.0", execution=2, root="r", parent=PARENT, carried=(ev.Carried("e", json(1)),)
    ),
    work.ActivityOutcome(execution=1, source=2, result=json(None)),
    work.ActivityOutcome(execution=1, source=2, error=error(), attempts=3, timed_out=True),
    work.ActivityOutcome(execution=1, source=2, error=error(), stopped=True),
    work.TimerDue(execution=1, source=2, fire_at=3),
    work.Raised(name="e", data=json({"a": 1})),
    work.ChildOutcome(execution=1, source=2, ending="failed", error=error()),
    work.Cancel(reason="enough"),
    work.Cancel(),
    work.Terminate(),
]


def plain(value):
    """Comparable: raw JSON has no equality of its own."""
    return msgspec.to_builtins(msgspec.json.decode(msgspec.json.encode(value)))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_itself_again(message):
    again = work.decode_message(work.encode_message(message))

    assert type(again) is type(message)
    assert plain(again) == plain(message)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"m":"query"}', b'{"m":"tim"}', b"[]"])
def test_what_is_no_message_is_refused(body):
    with pytest.raises(msgspec.DecodeError):
        work.decode_message(work.sealed(body))


@pytest.mark.parametrize("changed", [slice(0, 0), slice(0, 3), slice(0, -1), slice(1, None)])
def test_what_has_lost_bytes_is_told_from_what_is_no_message(changed):
    body = work.encode_message(work.Cancel())

    with pytest.raises(HistoryCorruptError, match="bytes were changed"):
        work.decode_message(body[changed])


def test_defaults_are_not_stored():
    assert work.unsealed(work.encode_message(work.Cancel()), "a message") == b'{"m":"cancel"}'
    assert ev.encode_events([ev.WaitStarted(id=2, name="e")]) == b'[{"t":"wait","name":"e","id":2}]'


def test_payloads_are_stored_as_the_json_that_they_are():
    assert (
        ev.encode_events([ev.StatusSet(id=2, value=Raw(b'{"a": [1]}'))])
        == b'[{"t":"status","value":{"a": [1]},"id":2}]'
    )


def test_unknown_fields_of_a_newer_release_are_passed_over():
    (event,) = ev.decode_events(b'[{"t":"wait","id":2,"name":"e","colour":"red"}]')

    assert event == ev.WaitStarted(id=2, name="e")


def test_every_kind_of_event_has_a_tag_of_its_own():
    tags = [kind.__struct_config__.tag for kind in ev.Event.__args__]

    assert len(set(tags)) == len(tags) == 33


def test_null_is_a_payload_and_not_its_absence():
    again = work.decode_message(work.encode_message(work.ActivityOutcome(execution=1, source=2, result=json(None))))

    assert bytes(again.result) == b"null"
    assert bytes(work.ActivityOutcome(execution=1, source=2).result) == b""
