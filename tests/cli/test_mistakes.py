"""Every mistake is one sentence with the next step, a number for scripts, and no traceback."""

from pathlib import Path

import pytest
from click.core import ParameterSource

from perdure.cli.app import COMMANDS
from perdure.cli.store import Store

ON_A_STORE = [
    ("list",),
    ("workers",),
    ("tree", "a"),
    ("executions", "a"),
    ("count",),
    ("queues",),
    ("limits",),
    ("purge", "--roots"),
    ("prune", "a", "--keep", "1"),
    ("show", "a"),
    ("history", "a"),
    ("wait", "a"),
    ("start", "greeting"),
    ("raise", "a", "approved"),
    ("cancel", "a"),
    ("terminate", "a"),
    ("suspend", "a"),
    ("resume", "a"),
    ("held",),
    ("retry", "a"),
    ("resolve", "a", "--repeat"),
    ("discard", "a"),
    ("rewind", "a"),
    ("reset", "a", "--to", "start"),
    ("fork", "a", "b"),
    ("delete", "a"),
    ("export", "-"),
    ("import", "-"),
    ("move", "sqlite:///there.db", "--yes"),
    ("schedule", "list"),
]


def is_one_sentence(text: str) -> bool:
    return text.startswith("perdure: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize("command", ON_A_STORE, ids=lambda each: each[0])
def test_a_store_that_is_not_there_is_named_with_the_reason_for_it_and_not_made(perdure, folder, command):
    said = perdure(*command)

    assert (said.status, said.out) == (1, "")
    assert is_one_sentence(said.err)
    assert f"there is no store {folder}/perdure.db: start a worker on it first" in said.err
    assert "(the URL is the default, sqlite:///perdure.db; --url or PERDURE_URL names another)" in said.err
    assert list(folder.iterdir()) == []


def test_every_command_on_a_store_is_in_that_test():
    assert {each[0] for each in ON_A_STORE} == set(COMMANDS) - {"new", "worker"}


def test_the_store_is_the_option_s_or_the_variable_s(perdure, monkeypatch):
    monkeypatch.setenv("PERDURE_URL", "sqlite:///from-variable.db")

    variable, option = perdure("list"), perdure("list", "--url", "from-option.db")

    assert "(PERDURE_URL is sqlite:///from-variable.db)" in variable.err
    assert "(--url is from-option.db)" in option.err


def test_a_password_in_a_url_is_never_shown():
    store = Store("postgresql://ada:secret@host/shop", ParameterSource.COMMANDLINE)

    assert store.label == "postgresql://ada:***@host/shop"
    assert "secret" not in store.flag + store.origin


def test_an_empty_variable_is_no_store(perdure, monkeypatch):
    monkeypatch.setenv("PERDURE_URL", "")

    assert "the URL is the default" in perdure("list").err


@pytest.mark.parametrize(
    ("url", "status", "expected"),
    [
        ("memory://", 2, "a store in memory is gone with its process: name a file"),
        ("mysql://host/shop", 2, "the store's URL is 'mysql://host/shop': use sqlite:///relative.db"),
        ("sqlite:///x.db?mode=ro", 2, "the store's URL is 'sqlite:///x.db?mode=ro': a URL of SQLite has no options"),
        ("sqlite:///no/such/folder/x.db", 1, "there is no folder"),
        ("not-a-store.txt", 1, "not-a-store.txt is no SQLite database"),
    ],
)
def test_a_url_that_is_none_of_ours_is_refused(perdure, url, status, expected):
    Path("not-a-store.txt").write_text("x" * 2000, encoding="utf-8")

    said = perdure("list", "--url", url)

    assert said.status == status
    assert is_one_sentence(said.err)
    assert expected in said.err


@pytest.mark.parametrize("command", [each for each in ON_A_STORE if each[1:2] == ("a",)], ids=lambda e: e[0])
def test_an_unknown_id_is_told_with_near_ones(perdure, worker, command):
    perdure("start", "approval", "--id", "order-1")
    verb, _, *rest = command

    said = perdure(verb, "ordr-1", *rest)

    assert (said.status, said.out) == (1, "")
    assert said.err == (
        "perdure: there is no instance 'ordr-1' in sqlite:///perdure.db (did you mean 'order-1'?): `perdure list` "
        "shows which it has\n"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "order-1",
            "order-1 is no JSON: a text has double quotes of its own, '\"order-1\"'",
        ),
        ("{id: 1}", "names and texts in it have double quotes"),
        ("[NaN]", "[NaN] is no JSON (JSON has no NaN): names and texts in it have double quotes"),
        ("", "is no JSON"),
        ("1 2", "Extra data"),
        ("[" * 100_000, "is no JSON"),
        ("@nowhere.json", "nowhere.json can't be read (No such file or directory); @nowhere.json means the JSON in"),
        ("@folder.json", "folder.json can't be read (Is a directory)"),
        ("@binary.json", "binary.json is no text in UTF-8"),
        ("@wrong.json", "wrong.json is no JSON"),
    ],
)
def test_an_input_that_is_no_json_is_told_with_the_cure(perdure, worker, value, expected):
    Path("folder.json").mkdir()
    Path("binary.json").write_bytes(b"\xff\xfe")
    Path("wrong.json").write_text("{", encoding="utf-8")

    for said in (perdure("start", "greeting", value), perdure("raise", "a", "approved", value)):
        assert said.status == 2
        assert is_one_sentence(said.err)
        assert expected in said.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("lst",), "No such command 'lst'. Did you mean 'list'? See `perdure --help`"),
        (("status", "a"), "No such command 'status': write perdure show ID. See `perdure --help`"),
        (("signal", "a", "approved"), "No such command 'signal': write perdure raise ID EVENT JSON"),
        (("help",), "No such command 'help': write perdure --help"),
        (("schedule", "add", "a"), "No such command 'add'"),
        (("list", "--jsn"), "No such option '--jsn'. Did you mean '--json'? See `perdure list --help`"),
        (("list", "--status", "done"), "'done' is not one of 'pending', 'running', 'held'"),
        (("list", "--limit", "0"), "0 is not in the range x>=1"),
        (("list", "--attribute", "customer"), "customer is no attribute: write key=value"),
        (("list", "--after", "yesterday"), "'yesterday' is no page key: pass the `next` of the page before"),
        (("show",), "Missing argument 'ID'. See `perdure show --help`"),
        (("show", "a", "b"), "Got unexpected extra argument (b)"),
        (("cancel",), "Missing argument 'ID...'"),
        (("start", "greeting", "-5"), "No such option '-5'; negative numbers come after --"),
        (("start", "greeting", "1", "2", "3", "4"), "4 inputs were given: an orchestration takes at most 3"),
        (("start", "greeting", "--timeout", "5"), "--timeout is about --wait, which was not given"),
        (("start", "greeting", "--wait", "--timeout", "nan"), "nan is no time: write seconds, or 90s, 30min, 12h, 7d"),
        (("wait", "a", "--timeout", "inf"), "inf is no time"),
        (("list", "--created-after", "999999d"), "999999d is before the year 1: write a shorter age"),
        (("wait", "a", "--timeout=-1"), "-1 is too short: at least 0 s"),
        (("wait", "a", "--timeout", "1e300"), "1e300 is too long: at most 253402300799 s"),
        (("reset", "a", "--to", "last", "--grace", "nan"), "nan is no time"),
        (("move", "other.db", "--grace", "nan"), "nan is no time"),
        (("worker", "shop", "--grace", "nan"), "nan is no time"),
        (("worker", "shop", "--session-idle", "1"), "1 is too short: at least 2 s"),
        (("start", "greeting", "--version", "one", "--id", "a"), "version is 'one': it must be a semantic version"),
        (("start", "greeting", "--id", "a\tb"), "instance id 'a\\tb' has the character U+0009"),
        (("start", "greeting", "--id", "x" * 300), "has 300 bytes of UTF-8; at most 256 are allowed"),
        (("worker", "shop", "sqlite:///shop.db"), "Got unexpected extra argument (sqlite:///shop.db)"),
    ],
)
def test_a_wrong_call_ends_with_2(perdure, worker, arguments, expected):
    said = perdure(*arguments)

    assert (said.status, said.out) == (2, "")
    assert is_one_sentence(said.err)
    assert expected in said.err


@pytest.mark.parametrize("verb", ["raise", "cancel", "terminate"])
def test_what_has_ended_takes_no_more(perdure, worker, verb):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")

    said = perdure(verb, "a", *(["approved"] if verb == "raise" else []))

    assert (said.status, said.err) == (1, "perdure: instance 'a' has ended (completed) and takes no more messages\n")


def test_a_child_is_deleted_with_its_root(perdure, worker):
    perdure("start", "family", "--id", "a")
    perdure("cancel", "a")
    perdure("wait", "a")

    said = perdure("delete", "a-child")

    assert said.status in {1, 2}
    assert is_one_sentence(said.err)


def test_short_for_several_is_not_guessed(perdure, working):
    from perdure import OrchestrationContext, Registry, orchestration  # noqa: PLC0415 - only this test needs them

    @orchestration(name="one::orchestration::order")
    async def one(ctx: OrchestrationContext) -> None: ...

    @orchestration(name="two::orchestration::order")
    async def two(ctx: OrchestrationContext) -> None: ...

    with working(Registry(one, two)):
        said = perdure("start", "order")

    assert said.err == (
        "perdure: 'order' is short for several orchestrations: write one of one::orchestration::order, "
        "two::orchestration::order\n"
    )
