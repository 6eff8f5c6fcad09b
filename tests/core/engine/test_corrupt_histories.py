"""Histories that break their own rules (B27 to B33) are refused before any code runs, with the event named."""

import itertools
import re

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure._core.history import check, open_children, read_rows
from perdure.errors import HistoryCorruptError, UnknownFormatError
from tests.core.harness import START_US, Conversation, error, json, kinds, row, rows, started

AT = START_US
NONE = Raw(b"null")


@orchestration
async def program(ctx: OrchestrationContext) -> None:
    return None


def begin(**changes):
    return started(program, **changes)


def asked(event_id):
    """One question of each kind that has answers, under this id."""
    return {
        "activity": ev.ActivityScheduled(id=event_id, name="a", input=NONE),
        "timer": ev.TimerCreated(id=event_id, fire_at=AT),
        "child": ev.ChildScheduled(id=event_id, name="c", input=NONE, instance_id="c-1"),
        "wait": ev.WaitStarted(id=event_id, name="e"),
    }


def answers(event_id, source):
    """Each kind of answer, by the kind of question that it fits."""
    return [
        ("activity", ev.ActivityCompleted(id=event_id, at=AT, source=source, result=NONE)),
        ("activity", ev.ActivityFailed(id=event_id, at=AT, source=source, error=error())),
        ("activity", ev.ActivityCancelled(id=event_id, source=source)),
        ("timer", ev.TimerFired(id=event_id, at=AT, source=source)),
        ("timer", ev.TimerCancelled(id=event_id, source=source)),
        ("child", ev.ChildCompleted(id=event_id, at=AT, source=source, result=NONE)),
        ("child", ev.ChildFailed(id=event_id, at=AT, source=source, error=error())),
        ("child", ev.ChildCancelled(id=event_id, source=source)),
        ("wait", ev.WaitCancelled(id=event_id, source=source)),
        ("wait", ev.EventRaised(id=event_id, at=AT, name="e", data=NONE, wait=source)),
    ]


def refuse(events, event_id, words):
    with pytest.raises(HistoryCorruptError, match=re.escape(words)) as caught:
        check(events, 1)
    assert caught.value.event_id == event_id
    assert f"damaged at event {event_id}" in str(caught.value)


def test_b27_a_history_begins_with_a_start_of_its_execution():
    refuse([], 1, "does not begin with a start")
    refuse([ev.StatusSet(id=1, value=NONE)], 1, "does not begin with a start")
    refuse([begin(execution=2)], 1, "belongs to execution 2, not 1")


@pytest.mark.parametrize("secret", ["abc", "no hex", "\u00e9\u00e9"])
def test_b27_the_secret_of_a_start_is_one(secret):
    refuse([begin(secret=secret)], 1, "its secret is not hexadecimal")


def test_b27_a_start_comes_first_and_only_first():
    refuse([begin(), begin(id=2)], 2, "starts an execution that had started")
    refuse([begin(id=2)], 2, "event 1 is missing or out of place")


@pytest.mark.parametrize("question", asked(2))
def test_b28_an_answer_fits_its_question_and_no_other(question):
    for fits, answer in answers(3, 2):
        events = [begin(), asked(2)[question], answer]
        if question == fits:
            check(events, 1)
        else:
            refuse(events, 3, "event 2 is no open")


def test_b28_an_answer_to_nothing_is_refused():
    for _, answer in answers(2, 99):
        refuse([begin(), answer], 2, "event 99 is no open")


def test_b28_an_answer_before_its_question_is_refused():
    for fits, answer in answers(2, 3):
        refuse([begin(), answer, asked(3)[fits]], 2, "event 3 is no open")


@pytest.mark.parametrize("question", asked(2))
def test_b29_a_second_answer_to_one_question_is_refused(question):
    firsts = [answer for fits, answer in answers(3, 2) if fits == question]
    seconds = [answer for fits, answer in answers(4, 2) if fits == question]
    for first, second in itertools.product(firsts, seconds):
        refuse([begin(), asked(2)[question], first, second], 4, "event 2 is no open")


ENDS = [
    ev.Completed(id=2, output=NONE),
    ev.Failed(id=2, error=error()),
    ev.Cancelled(id=2),
    ev.ContinuedAsNew(id=2, input=NONE),
    ev.Terminated(id=2, at=AT),
]


MORE = [
    ev.Completed(id=3, output=NONE),
    ev.CancelRequested(id=3, at=AT),
    ev.EventRaised(id=3, at=AT, name="e", data=NONE),
    ev.StatusSet(id=3, value=NONE),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda each: type(each).__name__)
def test_b30_nothing_follows_the_end(end):
    check([begin(), end], 1)
    for more in MORE:
        refuse([begin(), end, more], 3, "comes after the end")


def test_ids_are_dense_and_rise_by_one():
    refuse([begin(), ev.StatusSet(id=3, value=NONE)], 3, "event 2 is missing or out of place")
    refuse([begin(), ev.StatusSet(id=1, value=NONE)], 1, "event 2 is missing or out of place")


def test_time_does_not_go_back():
    earlier = ev.EventRaised(id=2, at=AT - 1, name="e", data=NONE)
    refuse([begin(), earlier], 2, "its time is before that of an earlier event")


def test_a_cancel_is_asked_for_once():
    events = [begin(), ev.CancelRequested(id=2, at=AT), ev.CancelRequested(id=3, at=AT)]
    refuse(events, 3, "a cancel that had been asked for")


def raised(event_id, name="e", wait=None):
    return ev.EventRaised(id=event_id, at=AT, name=name, data=NONE, wait=wait)


def test_a_wait_takes_an_unread_event_of_its_name_once():
    check([begin(), raised(2), ev.WaitStarted(id=3, name="e", took=2)], 1)
    refuse([begin(), ev.WaitStarted(id=2, name="e", took=1)], 2, "took external event 1, which was no unread 'e'")
    refuse([begin(), raised(2, "f"), ev.WaitStarted(id=3, name="e", took=2)], 3, "was no unread 'e'")
    taken = ev.WaitStarted(id=3, name="e", took=2)
    refuse([begin(), raised(2), taken, replace(taken, id=4)], 4, "was no unread 'e'")


def test_a_wait_takes_an_event_that_was_carried_over():
    carried = (ev.Carried("e", NONE), ev.Carried("f", NONE))
    check([begin(carried=carried), ev.WaitStarted(id=2, name="f", took=-1)], 1)
    refuse([begin(carried=carried), ev.WaitStarted(id=2, name="f", took=-2)], 2, "was no unread 'f'")


def test_an_event_goes_to_an_open_wait_of_its_name():
    refuse([begin(), ev.WaitStarted(id=2, name="e"), raised(3, "f", 2)], 3, "event 2 is no open wait for 'f'")


def test_a_wait_gives_back_only_what_it_was_given():
    wait, other = ev.WaitStarted(id=2, name="e"), ev.WaitStarted(id=3, name="e")
    given = [begin(), wait, other, raised(4, wait=2)]
    back = ev.WaitCancelled(id=5, source=2, gave_back=4)

    check([*given, back, ev.WaitStarted(id=6, name="e", took=4)], 1)
    check([*given, replace(back, gave_to=3), ev.WaitCancelled(id=6, source=3, gave_back=4)], 1)
    refuse([*given, replace(back, gave_back=3)], 5, "wait 2 had not been given event 3")
    refuse([*given, replace(back, source=3)], 5, "wait 3 had not been given event 4")
    refuse([*given, replace(back, gave_to=2)], 5, "event 2 is no open wait for 'e'")
    refuse([*given, back, replace(back, id=6)], 6, "wait 2 had not been given event 4")
    refuse([*given, replace(back, gave_back=None)], 5, "event 2 is no open WaitStarted")


def test_b32_names_and_payloads_of_any_text_survive():
    names = ["", "ünïcödé ☃", "x" * 10_000, "line\nline\ttab", "🙂"]

    @orchestration
    async def texts(ctx: OrchestrationContext, names: list[str]) -> list[str]:
        return [await ctx.schedule_activity("echo", name, returns=str) for name in names]

    talk = Conversation(texts)
    (act,) = talk.start(names)
    for name in names:
        (act,) = talk.complete(act.id, name)

    assert msgspec.json.decode(read_rows(talk.rows)[-1].output) == names


def test_b33_zero_timers_empty_inputs_and_large_results_survive():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_timer(0)
        await ctx.schedule_wait("e")
        return len(await ctx.schedule_activity("big", returns=str))

    talk = Conversation(program)
    (timer,) = talk.start()
    (wait,) = talk.fire(timer.id)
    assert timer.fire_at == START_US
    (big,) = talk.raise_event("e")

    assert bytes(big.input) == b"[]"
    assert kinds(talk.complete(big.id, "x" * 1_000_000)) == ["done 1000000"]
    assert wait.id == 4


def stored():
    return rows([[begin(), ev.StatusSet(id=2, value=NONE)], [raised(3)]])


def test_rows_are_read_in_their_order():
    assert [event.id for event in read_rows(stored())] == [1, 2, 3]
    assert read_rows([]) == []


def test_a_changed_byte_is_seen():
    first, second = stored()
    changed = replace(first, data=first.data.replace(b"null", b"true"))

    with pytest.raises(HistoryCorruptError, match="the checksum of row 1-2 is wrong") as caught:
        read_rows([changed, second])
    assert caught.value.event_id == 1


FIRST, SECOND = stored()
EMPTY = replace(FIRST, data=b"[]", crc=ev.checksum(b"[]"))


@pytest.mark.parametrize(
    "gap",
    [
        [SECOND],
        [SECOND, FIRST],
        [FIRST, FIRST],
        [FIRST, replace(SECOND, first=4)],
        [FIRST, replace(SECOND, last=4)],
        [FIRST, row([raised(4)])],
        [EMPTY],
    ],
)
def test_rows_follow_each_other_without_a_gap(gap):
    with pytest.raises(HistoryCorruptError, match="does not follow event"):
        read_rows(gap)


NO_TEXT = b'[{"t":"evt","id":1,"at":1,"name":"e","data":"\xff"}]'
"""Its payload is no UTF-8, which would come out when the orchestration reads it."""


@pytest.mark.parametrize(
    "data", [b"", b"{", b"{}", b"[1]", b'[{"id":1}]', b'[{"t":"done","id":1}]', b'["\xff"]', NO_TEXT]
)
def test_bytes_that_are_no_events_are_damage(data):
    with pytest.raises(HistoryCorruptError, match="row 1-1 holds no events"):
        read_rows([replace(row([begin()]), data=data, crc=ev.checksum(data))])


def test_a_kind_of_event_from_a_newer_release_is_no_damage():
    data = b'[{"t":"evt","id":1,"at":1,"name":"e","data":1},{"t":"query","id":2}]'
    newer = replace(row([begin()]), data=data, crc=ev.checksum(data), last=2)

    with pytest.raises(UnknownFormatError, match="event 2 is of kind 'query'") as caught:
        read_rows([newer])
    assert caught.value.event_id == 2


@pytest.mark.parametrize(("column", "value"), [("format", 2), ("encoding", "json+zstd")])
def test_a_row_of_another_format_is_for_a_newer_release(column, value):
    first, second = stored()

    with pytest.raises(UnknownFormatError, match="let a newer worker take it") as caught:
        read_rows([first, replace(second, **{column: value})])
    assert caught.value.event_id == 3


def test_the_children_that_are_still_open():
    events = [
        begin(),
        *(replace(asked(n)["child"], instance_id=f"c-{n}") for n in range(2, 6)),
        ev.ChildCompleted(id=6, at=AT, source=2, result=NONE),
        ev.ChildFailed(id=7, at=AT, source=3, error=error()),
        ev.ChildCancelled(id=8, source=4),
    ]
    check(events, 1)

    assert [child.instance_id for child in open_children(events)] == ["c-5"]


def test_a_message_in_its_stored_form_is_itself_again():
    data = json({"a": [1, None]})

    assert bytes(ev.decode_events(ev.encode_events([raised(1)]))[0].data) == b"null"
    assert bytes(data) == b'{"a":[1,null]}'


def place(event_id):
    return ev.LimitAsked(id=event_id, limit=ev.KeyLimit("k", 1, None, 1))


@pytest.mark.parametrize(
    "behind",
    [
        [ev.LimitEntered(id=2, at=AT, source=1)],
        [ev.LimitLeft(id=2, source=1)],
        [asked(2)["timer"], ev.LimitLeft(id=3, source=2)],
        [place(2), ev.LimitEntered(id=3, at=AT, source=2), ev.LimitEntered(id=4, at=AT, source=2)],
        [place(2), ev.LimitLeft(id=3, source=2), ev.LimitLeft(id=4, source=2)],
    ],
)
def test_a_place_is_entered_and_left_once(behind):
    refuse([begin(), *behind], len(behind) + 1, f"event {behind[-1].source} is no open LimitAsked")


@pytest.mark.parametrize("kind", ["timer", "wait", None])
def test_what_is_stopped_is_an_activity(kind):
    opened = [asked(2)[kind]] if kind else []
    stop = ev.ActivityStopped(id=2 + len(opened), source=2)
    refuse([begin(), *opened, stop], stop.id, "event 2 is no open ActivityScheduled")
