"""`perdure raise`, `cancel`, `terminate` and `delete`, while a worker runs."""

from perdure import Status
from tests.cli.conftest import until


def test_an_event_that_is_raised_arrives(perdure, worker):
    perdure("start", "approval", "--id", "a")

    said = perdure("raise", "a", "approved", "true")

    assert (said.status, said.out) == (0, "raised approved in a\n")
    assert until("a", lambda status: status.is_closed).output is True


def test_an_event_with_a_key_is_raised_once(perdure, worker):
    perdure("start", "nap", "3600", "--id", "a")

    for _ in range(2):
        assert perdure("raise", "a", "note", '"once"', "--dedup-key", "k").status == 0
    perdure("raise", "a", "note", '"twice"', "--json")

    until("a", lambda status: status.version is not None)
    perdure("cancel", "a")
    until("a", lambda status: status.is_closed)
    raised = [each for each in perdure("history", "a", "--json").json["events"] if each["kind"] == "EventRaised"]
    assert [each["data"]["data"] for each in raised] == ["once", "twice"]


def test_several_are_cancelled_at_once(perdure, worker):
    for name in ("a", "b"):
        perdure("start", "approval", "--id", name)

    said = perdure("cancel", "a", "b", "--reason", "a mistake")

    assert (said.status, said.out) == (0, "asked to cancel: a\nasked to cancel: b\n")
    for name in ("a", "b"):
        assert until(name, lambda status: status.is_closed).status is Status.CANCELLED


def test_one_is_terminated_without_its_code(perdure, worker):
    perdure("start", "impatient", "--id", "a")
    until("a", lambda status: status.status is Status.HELD)

    said = perdure("terminate", "a", "--reason", "broken", "--json")

    assert said.json == {"items": [{"instance_id": "a", "request": "terminate"}]}
    assert until("a", lambda status: status.is_closed).status is Status.TERMINATED


def test_one_that_can_t_be_steered_does_not_keep_the_others_from_it(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "done", "--wait")
    perdure("start", "approval", "--id", "open")

    said = perdure("cancel", "done", "nobody", "open", "--json")

    assert said.status == 1
    done, nobody, opened = said.json["items"]
    assert done == {"instance_id": "done", "error": "instance 'done' has ended (completed) and takes no more messages"}
    assert nobody["error"].startswith("there is no instance 'nobody' in sqlite:///perdure.db")
    assert opened == {"instance_id": "open", "request": "cancel"}
    assert until("open", lambda status: status.is_closed).status is Status.CANCELLED


def test_a_closed_one_is_deleted_with_its_family(perdure, worker):
    perdure("start", "family", "--id", "a")
    until("a", lambda status: status.version is not None)
    until("a-child", lambda status: status.version is not None)
    perdure("raise", "a-child", "approved", "true")
    perdure("wait", "a")

    said = perdure("delete", "a", "--json")

    assert said.json == {"items": [{"instance_id": "a", "request": "delete", "deleted": 2}]}
    assert perdure("list", "--json").json["items"] == []


def test_an_open_one_is_deleted_by_force_only(perdure, worker):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)

    refused = perdure("delete", "a")
    forced = perdure("delete", "a", "--force")

    assert refused.status == 1
    assert refused.err == (
        "perdure: instance 'a' has not ended (running): cancel or terminate it first, or delete it with --force\n"
    )
    assert (forced.status, forced.out) == (0, "deleted a\n")
