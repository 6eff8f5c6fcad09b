"""`perdure suspend`, `resume`, `held`, `retry` and `discard`: what does not go on, and what to do about it."""

from perdure import Status
from tests.cli.conftest import until


def test_an_instance_is_suspended_and_resumed(perdure, worker):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)

    assert perdure("suspend", "a", "--reason", "audit").out == "suspended a\n"
    perdure("raise", "a", "approved", "true")
    [listed] = perdure("list", "--json", "--status", "suspended").json["items"]
    assert listed["held_because"] == "audit"
    assert perdure("resume", "a", "--json").json == {"items": [{"instance_id": "a", "request": "resume"}]}
    assert perdure("wait", "a").out == "true\n"


def test_what_is_held_is_listed_with_the_reason(perdure, worker):
    assert perdure("held").err == "Nothing is held in sqlite:///perdure.db.\n"
    perdure("start", "impatient", "--id", "a")
    until("a", lambda status: status.status is Status.HELD)

    cells = perdure("held").out.rstrip("\n").split("\t")
    document = perdure("held", "--json").json

    assert cells[:3] == ["a", "", "shop::orchestration::impatient"]
    assert cells[4].startswith("ForbiddenCallError: ")
    assert [each["instance_id"] for each in document["instances"]] == ["a"]
    assert document["activities"] == []


def test_what_is_held_is_tried_again_or_given_up(perdure, worker):
    perdure("start", "impatient", "--id", "a")
    first = until("a", lambda status: status.status is Status.HELD)

    assert perdure("retry", "a").out == "to be tried again: a\n"
    until("a", lambda status: status.status is Status.HELD and status.updated_at > first.updated_at)
    assert perdure("discard", "a", "--reason", "no use").out == "discarded a\n"
    ended = until("a", lambda status: status.is_closed)

    assert (ended.status, ended.error.message) == (Status.TERMINATED, "no use")


def test_what_is_not_held_is_not_given_up(perdure, worker):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)

    for arguments in (("discard", "a"), ("retry", "a", "--event", "3")):
        said = perdure(*arguments)
        assert (said.status, said.out) == (1, "")
        assert "nothing of instance 'a' that was asked for is held" in said.err
