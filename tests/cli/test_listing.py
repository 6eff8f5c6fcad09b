"""`perdure list`, `workers` and `history`: one line each in a pipe, and JSON."""

import re

import pytest

from perdure import Status
from tests.cli.conftest import until

INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"


def test_a_pipe_gets_a_line_of_cells_for_each_instance_the_newest_first(perdure, worker):
    perdure("start", "approval", "--id", "first")
    perdure("start", "payment", "0", "--id", "second", "--wait")
    until("first", lambda status: status.version is not None)

    second, first = perdure("list").out.splitlines()

    assert re.fullmatch(
        rf'first\tshop::orchestration::approval\trunning\t{INSTANT}\t{{"waiting": "for a person"}}', first
    )
    assert second.split("\t")[:3] == ["second", "shop::orchestration::payment", "failed"]
    assert "nothing to charge" in second.split("\t")[4]


def test_a_held_one_shows_its_reason(perdure, worker):
    perdure("start", "impatient", "--id", "a")
    until("a", lambda status: status.status is Status.HELD)

    assert perdure("list").out.split("\t")[4].startswith("ForbiddenCallError: ")


def test_filters_narrow_the_list(perdure, worker):
    perdure("start", "approval", "--id", "a")
    perdure("start", "greeting", '"Ada"', "--id", "b", "--wait")
    perdure("start", "nap", "3600", "--id", "c")
    until("a", lambda status: status.version is not None)
    until("c", lambda status: status.version is not None)

    def ids(*options: str) -> list[str]:
        return [each["instance_id"] for each in perdure("list", "--json", *options).json["items"]]

    assert ids() == ["c", "b", "a"]
    assert ids("--status", "completed") == ["b"]
    assert ids("--status", "completed", "--status", "running") == ["c", "b", "a"]
    assert ids("--name", "shop::orchestration::nap") == ["c"]
    assert ids("--name", "nap") == ["c"]
    assert ids("--name", "na") == []
    assert ids("--version", "1.2.0") == ["a"]


def test_a_list_is_read_page_by_page(perdure, worker):
    for number in range(5):
        perdure("start", "approval", "--id", f"i-{number}")

    first = perdure("list", "--limit", "3", "--json").json
    second = perdure("list", "--limit", "3", "--after", first["next"], "--json").json
    text = perdure("list", "--limit", "3")

    ids = [each["instance_id"] for each in [*first["items"], *second["items"]]]
    assert ids == ["i-4", "i-3", "i-2", "i-1", "i-0"]
    assert second["next"] is None
    assert text.err == f"There are more: --after {first['next']}, or a higher --limit.\n"


def test_a_limit_beyond_one_page_of_the_client_is_kept(perdure, worker, monkeypatch):
    monkeypatch.setattr("perdure.cli.listing.PAGE", 2)
    for number in range(5):
        perdure("start", "approval", "--id", f"i-{number}")

    assert len(perdure("list", "--limit", "5").out.splitlines()) == 5
    assert len(perdure("list", "--limit", "3").out.splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "There is no instance in sqlite:///perdure.db.\n"),
        (
            ("--name", "greeting"),
            "There is no instance that matches in sqlite:///perdure.db.\n",
        ),
    ],
)
def test_an_empty_list_says_so_beside_the_output(perdure, worker, options, expected):
    said = perdure("list", *options)

    assert (said.status, said.out, said.err) == (0, "", expected)


def test_workers_are_listed_with_what_they_run(perdure, working):
    with working():
        text = perdure("workers").out
        [document] = perdure("workers", "--json").json["items"]
    gone = perdure("workers")

    assert re.match(rf"kitchen\talive\t{INSTANT}\tuntagged\tshop::orchestration::greeting@1.0.0, ", text)
    assert "shop::activity::greet" in text.rstrip("\n").split("\t")[-1].split(", ")
    assert (document["name"], document["is_alive"]) == ("kitchen", True)
    assert "shop::activity::greet" in document["activities"]
    assert (gone.out, gone.err) == (
        "",
        "No worker is running on sqlite:///perdure.db: perdure worker MODULE:REGISTRY\n",
    )


def test_on_a_terminal_workers_say_their_activities_too(perdure, working, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")
    with working():
        [_, row] = perdure("workers").out.splitlines()

    assert re.search(r"shop::orchestration::greeting@1\.0\.0, .*shop::activity::greet\b", row)


def test_a_history_is_a_line_of_cells_for_each_event(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")

    lines = [line.split("\t") for line in perdure("history", "a").out.splitlines()]

    assert [(line[0], line[2], line[3]) for line in lines] == [
        ("1", "Started", ""),
        ("2", "ActivityScheduled", ""),
        ("3", "ActivityCompleted", "#2"),
        ("4", "Completed", ""),
    ]
    assert lines[1][4].startswith("tests/cli/shop.py:")
    assert lines[2][5] == '{"result": "hello Ada"}'


def test_the_events_as_json_have_all_fields(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")

    document = perdure("history", "a", "--json").json

    assert (document["instance_id"], document["execution_id"]) == ("a", 1)
    assert document["events"][2] == {
        "id": 3,
        "kind": "ActivityCompleted",
        "at": document["events"][2]["at"],
        "source": 2,
        "where": None,
        "data": {"result": "hello Ada"},
    }


def test_one_that_no_worker_has_taken_has_no_history(perdure, working):
    with working():
        pass
    perdure("start", "shop::orchestration::greeting", '"Ada"', "--id", "a")

    said = perdure("history", "a")

    assert (said.status, said.out, said.err) == (0, "", "'a' has no history yet: no worker has taken it.\n")
