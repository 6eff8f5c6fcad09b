"""`perdure schedule`: made, listed and steered from the shell."""

from tests.cli.conftest import URL, until

GREETING = "shop::orchestration::greeting"


def test_a_schedule_is_made_and_shown(perdure, worker):
    made = perdure("schedule", "create", "nightly", "greeting", '"Ada"', "--cron", "30 2 * * *", "--zone", "Asia/Tokyo")
    assert (made.status, made.out) == (0, "nightly\n")
    until("nightly", lambda status: status.custom_status is not None)

    shown = perdure("schedule", "show", "nightly", "--json").json

    assert shown["when"] == "cron 30 2 * * * Asia/Tokyo"
    assert shown["orchestration"].endswith("::greeting")
    assert shown["next_slot"].endswith("T17:30:00+00:00")
    assert "overlap skip, catch up latest" in perdure("schedule", "show", "nightly").out


def test_the_list_has_a_line_for_each(perdure, worker):
    assert "There is no schedule" in perdure("schedule", "list").err
    perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "86400", "--paused", "--note", "not yet")
    until("a", lambda status: status.custom_status is not None)

    listed = perdure("schedule", "list")

    cells = listed.out.rstrip("\n").split("\t")
    assert (cells[0], cells[2], cells[3], cells[4]) == ("a", "every 86400 s", "paused", "not yet")
    (item,) = perdure("schedule", "list", "--json").json["items"]
    assert (item["schedule_id"], item["paused"], item["next_slot"]) == ("a", True, None)


def test_a_run_is_triggered_and_its_id_is_written(perdure, worker):
    perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "86400", "--offset", "60")

    run = perdure("schedule", "trigger", "a").out.strip()

    assert run.startswith("a@")
    assert "Ada" in perdure("wait", run).out
    assert perdure("schedule", "trigger", "a", "--json").json["name"].endswith("::greeting")


def test_it_is_paused_resumed_updated_and_deleted(perdure, worker):
    perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "86400")

    def note_is(note: str):
        return lambda status: status.custom_status is not None and status.custom_status["state"]["note"] == note

    assert perdure("schedule", "pause", "a", "--note", "holidays").out == "asked to pause: a\n"
    until("a", note_is("holidays"))
    assert "paused: holidays" in perdure("schedule", "show", "a").out
    perdure("schedule", "resume", "a", "--note", "over")
    until("a", note_is("over"))
    said = perdure("schedule", "update", "a", '"Bob"', "--overlap", "allow", "--every", "3600", "--json")
    assert said.json == {"items": [{"schedule_id": "a", "request": "update"}]}
    seen = until("a", lambda status: status.custom_status["spec"]["overlap"] == "allow")
    assert (seen.custom_status["spec"]["inputs"], seen.custom_status["spec"]["every_us"]) == (["Bob"], 3_600_000_000)
    assert perdure("schedule", "delete", "a").out == "deleted a\n"
    assert perdure("schedule", "show", "a").status == 1


def test_it_is_made_again_only_where_that_is_asked_for(perdure, worker):
    perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "86400")
    until("a", lambda status: status.custom_status is not None)

    refused = perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "3600")

    assert (refused.status, refused.out) == (1, "")
    assert "--update changes it to this" in refused.err
    assert perdure("schedule", "create", "a", "greeting", "SLOT", "--every", "3600", "--update").status == 0
    seen = until("a", lambda status: status.custom_status["spec"]["every_us"] == 3_600_000_000)
    assert seen.custom_status["spec"]["slot_inputs"] == [0]


def test_what_is_no_schedule_is_named_as_such(perdure, worker):
    perdure("schedule", "create", "nightly", "greeting", '"Ada"', "--every", "86400")
    perdure("start", "greeting", '"Ada"', "--id", "once", "--wait")

    for wanted, near in (("nigtly", "nightly"), ("once", None)):
        said = perdure("schedule", "pause", wanted)
        assert (said.status, said.out) == (1, "")
        hint = "" if near is None else f" (did you mean {near!r}?)"
        assert f"there is no schedule {wanted!r} in sqlite:///perdure.db{hint}: `perdure schedule list`" in said.err


def test_times_may_have_a_unit(perdure, worker):
    made = perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "1h", "--offset", "90s", "--json").json

    assert made["when"] == "every 3600 s + 90 s"


def test_one_that_has_ended_has_no_next_slot(perdure, worker):
    perdure("schedule", "create", "a", "greeting", '"Ada"', "--every", "86400")
    until("a", lambda status: status.custom_status is not None)
    perdure("terminate", "a")
    until("a", lambda status: status.is_closed)

    assert perdure("schedule", "show", "a", "--json").json["next_slot"] is None


def test_what_can_not_be_meant_is_refused(perdure, worker):
    create = ("schedule", "create", "a", GREETING, "--unchecked", "--url", URL)
    for arguments, words in (
        ((), "say when"),
        (("--cron", "@daily", "--every", "60"), "one timing"),
        (("--every", "60", "--zone", "UTC"), "--zone is for --cron"),
        (("--cron", "61 * * * *"), "is no minute"),
        (("--every", "soon"), "soon is no time: write seconds, or 90s, 30min, 12h, 7d"),
        (("--every", "0.5"), "0.5 is too short: at least 1 s"),
        (("--every", "60", "--jitter", "nan"), "nan is no time"),
        (("1", "2", "3", "4", "--every", "60"), "at most 3"),
    ):
        said = perdure(*create, *arguments)
        assert (said.status, said.out) == (2, "")
        assert words in said.err
    assert "say what to change" in perdure("schedule", "update", "a").err


def test_the_group_alone_shows_its_commands(perdure):
    said = perdure("schedule")

    assert said.status == 0
    assert "Start orchestrations by the calendar" in said.out
    assert "create" in said.out
