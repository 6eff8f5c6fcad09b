"""`perdure start` and `perdure wait`: names, inputs, results, and how they end."""

import io
import json

from tests.cli.conftest import until

GREETING = "shop::orchestration::greeting"


def test_an_orchestration_is_started_and_its_id_is_all_that_a_pipe_gets(perdure, worker):
    said = perdure("start", GREETING, '"Ada"', "--id", "greet-ada")

    assert (said.status, said.out) == (0, "greet-ada\n")
    assert said.err == f"Started {GREETING}: perdure show greet-ada\n"
    assert until("greet-ada", lambda status: status.is_closed).output == "hello Ada"


def test_without_an_id_it_gets_a_new_one(perdure, worker):
    first, second = (perdure("start", GREETING, '"Ada"').out for _ in range(2))

    assert first != second
    assert len(first.strip()) == 36


def test_the_last_part_of_a_name_is_enough_while_a_worker_has_it(perdure, worker):
    assert perdure("start", "greeting", '"Ada"', "--wait").out == '"hello Ada"\n'


def test_waiting_writes_the_result_as_json(perdure, worker):
    said = perdure("start", "echo", '{"deep": [1, 2.5, null, true, "é"]}', "--wait")

    assert said.status == 0
    assert said.json == {"deep": [1, 2.5, None, True, "é"]}


def test_a_result_is_json_whatever_is_in_it(perdure, worker):
    text = "\x9b\x7f\u202e\n"

    said = perdure("start", "echo", json.dumps(text), "--wait")

    assert said.out.rstrip("\n").isprintable()
    assert said.json == text


def test_an_input_can_come_from_a_file_or_from_standard_input(perdure, worker, folder, monkeypatch):
    (folder / "input.json").write_text('{"from": "a file"}', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "standard input"}'))

    assert perdure("start", "echo", "@input.json", "--wait").json == {"from": "a file"}
    assert perdure("start", "echo", "-", "--wait").json == {"from": "standard input"}


def test_a_negative_number_comes_after_two_dashes(perdure, worker):
    assert perdure("start", "echo", "--wait", "--", "-5").out == "-5\n"


def test_json_is_the_whole_instance(perdure, worker):
    started = perdure("start", GREETING, '"Ada"', "--id", "a", "--json").json
    ended = perdure("wait", "a", "--json").json

    assert (started["instance_id"], started["name"]) == ("a", GREETING)
    assert (ended["status"], ended["output"], ended["is_closed"]) == ("completed", "hello Ada", True)


def test_a_failure_is_told_with_its_reason_and_exit_status_3(perdure, worker):
    said = perdure("start", "payment", "--wait", "--id", "pay", "--", "-1")

    assert (said.status, said.out) == (3, "")
    assert said.err.startswith("'pay' ended as failed: ")
    assert "-1 cents can't be charged" in said.err


def test_a_cancelled_one_ends_with_exit_status_3_too(perdure, worker):
    perdure("start", "approval", "--id", "a")
    perdure("cancel", "a", "--reason", "too late")

    said = perdure("wait", "a")

    assert (said.status, said.err) == (3, "'a' ended as cancelled: too late\n")


def test_one_that_is_held_ends_the_wait_with_exit_status_4(perdure, worker):
    said = perdure("start", "impatient", "--id", "a", "--wait")

    assert (said.status, said.out) == (4, "")
    assert said.err.startswith("'a' is held, and goes on when that is mended: perdure.errors.ForbiddenCallError")


def test_the_time_to_wait_can_be_limited(perdure, worker):
    perdure("start", "approval", "--id", "a")

    said = perdure("wait", "a", "--timeout", "0.01")

    assert (said.status, said.out) == (4, "")
    assert said.err == "'a' has not ended within 0.01 s; it goes on.\n"


def test_json_of_one_that_has_not_ended_in_time_says_where_it_stands(perdure, worker):
    perdure("start", "approval", "--id", "a")

    said = perdure("wait", "a", "--timeout", "0.01", "--json")

    assert said.status == 4
    assert not said.json["is_closed"]


def test_an_id_that_is_taken_is_an_error_unless_it_is_said_what_to_do(perdure, worker):
    perdure("start", "approval", "--id", "a")

    refused = perdure("start", "approval", "--id", "a")
    joined = perdure("start", "approval", "--id", "a", "--on-conflict", "use_existing")

    assert refused.status == 1
    assert refused.err == (
        "perdure: there is already an instance 'a': choose another --id, or say with --on-conflict what to do with it\n"
    )
    assert (joined.status, joined.out) == (0, "a\n")


def test_a_full_name_waits_for_a_worker_and_says_so(perdure, working):
    with working():
        pass

    said = perdure("start", GREETING, '"Ada"', "--id", "a")

    assert (said.status, said.out) == (0, "a\n")
    assert "No worker is running on sqlite:///perdure.db; " in said.err
    with working():
        assert until("a", lambda status: status.is_closed).output == "hello Ada"


def test_a_short_name_needs_a_worker(perdure, working):
    with working():
        pass

    said = perdure("start", "greeting", '"Ada"')

    assert said.status == 1
    assert "nobody can say what 'greeting' is short for" in said.err
    assert perdure("list", "--json").json["items"] == []


def test_a_name_that_no_worker_has_is_not_started(perdure, worker):
    said = perdure("start", "greting", '"Ada"')

    assert said.status == 1
    assert "no living worker has an orchestration 'greting' (did you mean 'greeting'?)" in said.err
    assert perdure("list", "--json").json["items"] == []


def test_a_version_that_no_worker_has_is_not_started(perdure, worker):
    said = perdure("start", "approval", "--version", "2.0.0")

    assert said.status == 1
    assert "no living worker has version 2.0.0 of 'shop::orchestration::approval' (they have 1.2.0)" in said.err
    assert perdure("list", "--json").json["items"] == []
    assert perdure("start", "approval", "--version", "2.0.0", "--unchecked", "--id", "a").out == "a\n"


def test_unchecked_starts_what_no_worker_has(perdure, worker):
    assert perdure("start", "elsewhere", "--unchecked", "--id", "a").out == "a\n"
    assert perdure("show", "a", "--json").json["instance"]["name"] == "elsewhere"


def test_an_exact_version_is_used(perdure, worker):
    perdure("start", "approval", "--id", "a", "--version", "1.2.0")

    assert until("a", lambda status: status.version is not None).version == "1.2.0"


def test_attributes_find_it_again(perdure, worker):
    perdure("start", "approval", "--id", "a", "--attribute", "customer=Ada", "--attribute", "vip=true")
    perdure("start", "approval", "--id", "b", "--attribute", "customer=Bob")

    assert perdure("list", "--attribute", "customer=Ada", "--attribute", "vip=true").out.startswith("a\t")
    assert [each["instance_id"] for each in perdure("list", "--attribute", "customer=Bob", "--json").json["items"]] == [
        "b"
    ]
