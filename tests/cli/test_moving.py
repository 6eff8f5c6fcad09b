"""`perdure export`, `import` and `move`: instances go from one store to another."""

from perdure import Client
from tests.cli.conftest import until


def test_an_export_is_imported_elsewhere_and_waits(perdure, worker, folder):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)

    said = perdure("export", "a.jsonl", "a")
    _make("there.db")
    taken = perdure("import", "a.jsonl", "--url", "there.db", "--json")

    assert (said.status, said.err) == (0, "exported: 1 trees, 1 instances.\n")
    assert taken.json == {"request": "imported", "trees": 1, "instances": 1, "skipped": 0}
    assert perdure("list", "--url", "there.db", "--json").json["items"][0]["status"] == "suspended"
    again = perdure("import", "a.jsonl", "--url", "there.db")
    assert (again.status, "--on-conflict skip leaves" in again.err) == (1, True)
    assert (
        "1 trees were there already" in perdure("import", "a.jsonl", "--url", "there.db", "--on-conflict", "skip").err
    )
    assert perdure("export", "a.jsonl").err.startswith("perdure: a.jsonl is there already")
    assert perdure("import", "b.jsonl").err.startswith("perdure: b.jsonl can't be read")


def test_a_damaged_file_is_refused_in_one_sentence(perdure, worker, folder):
    (folder / "bad.jsonl").write_text("{}\n")

    said = perdure("import", "bad.jsonl")

    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "line 1 of the export" in said.err


def test_instances_move_and_everything_only_when_that_is_meant(perdure, worker, folder):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)
    _make("there.db")

    assert "add --yes if you mean that" in perdure("move", "there.db").err
    assert "not both" in perdure("move", "there.db", "a", "--roots").err
    said = perdure("move", "there.db", "--roots")

    assert (said.status, said.err) == (0, "moved: 1 trees, 1 instances.\n")
    assert perdure("list", "--json").json["items"][0]["status"] == "moved"
    assert perdure("list", "--url", "there.db", "--json").json["items"][0]["status"] == "running"


def test_what_has_moved_is_shown_with_where_it_goes_on(perdure, worker, folder):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)
    _make("there.db")
    perdure("move", "there.db", "a")
    there = str(folder / "there.db")

    assert perdure("list").out.split("\t")[2::2] == ["moved", f"{there}\n"]
    assert perdure("count").out.split("\t")[1:] == ["moved", "1\n"]
    assert "\tmoved\t" in perdure("tree", "a").out
    assert f"  moved to       {there}\n" in perdure("show", "a").out
    waited = perdure("wait", "a")
    assert (waited.status, waited.err) == (4, f"'a' has moved to {there}, and goes on there\n")


def _make(path):
    import asyncio  # noqa: PLC0415 - the commands bring their own loop

    async def make():
        async with Client(path):
            pass

    asyncio.run(make())
