"""`perdure tree`, `executions`, `count` and `queues`: a store at a glance."""

import re

import pytest

from perdure import Status
from tests.cli.conftest import eventually, until

INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"


def test_a_tree_is_a_line_for_each_instance_with_its_depth(perdure, worker):
    perdure("start", "family", "--id", "parent")
    eventually(lambda: "parent-child" in perdure("list").out)
    until("parent-child", lambda status: status.version is not None)

    top, below = perdure("tree", "parent").out.splitlines()
    document = perdure("tree", "parent", "--json").json

    assert re.fullmatch(rf"parent\tshop::orchestration::family\trunning\t{INSTANT}", top)
    assert below.split("\t")[:3] == ["  parent-child", "shop::orchestration::approval", "running"]
    assert [(each["depth"], each["instance_id"]) for each in document["items"]] == [(0, "parent"), (1, "parent-child")]


def test_executions_are_listed_with_the_sizes_of_their_histories(perdure, worker):
    perdure("start", "rounds", "2", "--id", "a", "--wait")

    lines = [line.split("\t") for line in perdure("executions", "a").out.splitlines()]

    assert [(line[0], line[1], line[4]) for line in lines] == [
        ("1", "continued", "4"),
        ("2", "continued", "4"),
        ("3", "completed", "4"),
    ]
    assert all(int(line[5]) > 0 for line in lines)


def test_instances_are_counted_by_orchestration_and_status(perdure, worker):
    for number in range(3):
        perdure("start", "greeting", '"Ada"', "--id", f"g-{number}", "--wait")
    perdure("start", "approval", "--id", "waits")
    until("waits", lambda status: status.version is not None)

    assert perdure("count").out.splitlines() == [
        "shop::orchestration::approval\trunning\t1",
        "shop::orchestration::greeting\tcompleted\t3",
    ]
    assert perdure("count", "--name", "greeting", "--json").json["total"] == 3
    assert perdure("count", "--status", "failed").err == "There is no such instance in sqlite:///perdure.db.\n"


def test_queues_tell_what_waits_and_what_is_held(perdure, working):
    with working():
        perdure("start", "impatient", "--id", "held")
        until("held", lambda status: status.status is Status.HELD)
    perdure("start", "shop::orchestration::greeting", '"Ada"', "--id", "ready")

    lines = [line.split("\t") for line in perdure("queues").out.splitlines()]

    assert [line[:2] for line in lines] == [
        ["ready instances", "1"],
        ["held instances", "1"],
        ["messages", "2"],
        ["timers", "0"],
    ]
    assert float(lines[0][2]) >= 0


@pytest.mark.parametrize("command", ["tree", "executions"])
def test_one_that_is_not_there_is_refused(perdure, worker, command):
    said = perdure(command, "nobody")

    assert said.status == 1
    assert "there is no instance 'nobody'" in said.err


def test_spans_of_time_and_places_in_a_tree_narrow_a_list(perdure, worker):
    perdure("start", "family", "--id", "parent")
    eventually(lambda: "parent-child" in perdure("list").out)
    until("parent-child", lambda status: status.version is not None)

    def ids(*options: str) -> list[str]:
        return [each["instance_id"] for each in perdure("list", "--json", *options).json["items"]]

    assert ids("--roots") == ["parent"]
    assert ids("--parent", "parent") == ["parent-child"]
    assert ids("--root", "parent") == ["parent-child", "parent"]
    assert ids("--created-after", "1h") == ["parent-child", "parent"]
    assert ids("--created-before", "1h") == []
    assert ids("--updated-before", "2020-01-01") == ids("--updated-after", "2100-01-01T12:00+02:00") == []


def test_an_instant_that_is_none_is_refused_with_what_to_write(perdure, worker):
    said = perdure("list", "--created-after", "yesterday")

    assert said.status == 2
    assert "yesterday is no instant: write 2026-03-01, 2026-03-01T12:00Z, 12h or 7d" in said.err


def test_limits_in_use_are_listed_with_who_has_and_who_wants_a_place(perdure, worker):
    for name in ("first", "second"):
        perdure("start", "alone", "--id", name)
        eventually(lambda name=name: name in perdure("limits", "chair").out)

    [line] = perdure("limits").out.splitlines()
    [document] = perdure("limits", "--json").json["items"]
    users = [line.split("\t")[:4] for line in perdure("limits", "chair").out.splitlines()]
    items = perdure("limits", "chair", "--json").json["items"]

    assert line.split("\t")[:5] == ["chair", "1", "10 in 60 s", "1", "1"]
    assert (document["key"], document["running"], document["waiting"]) == ("chair", 1, 1)
    assert users == [["first", "2", "a section", "running"], ["second", "2", "a section", "waiting"]]
    assert [each["activity"] for each in items] == [None, None]


def test_that_no_limit_is_in_use_is_said(perdure, worker):
    assert "No limit is in use" in perdure("limits").err
    assert "Nobody has or wants a place of chair" in perdure("limits", "chair").err


def test_queues_tell_by_tag_and_what_nobody_takes(perdure, worker):
    perdure("start", "lonely", "--id", "a")
    eventually(lambda: "gpu" in perdure("queues").out)
    said = perdure("queues")
    [line] = [line.split("\t") for line in said.out.splitlines() if "gpu" in line]
    assert line[:5] == ["shop::activity::infer", "gpu", "1", "0", "0"]
    assert said.err == "No worker takes shop::activity::infer with the tag gpu.\n"
