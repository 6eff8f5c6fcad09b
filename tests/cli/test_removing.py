"""`perdure purge` and `prune`: nothing goes unless it is said twice, and what goes is told."""

from tests.cli.conftest import until


def test_a_purge_without_yes_only_tells_how_many_match(perdure, worker):
    for name in ("a", "b"):
        perdure("start", "greeting", '"Ada"', "--id", name, "--wait")

    said = perdure("purge", "--status", "completed")

    assert (said.status, said.out) == (0, "")
    assert said.err == "2 trees match; nothing was deleted. Add --yes to delete them.\n"
    assert perdure("purge", "--status", "completed", "--json").json == {"request": "preview", "roots": 2}
    assert perdure("count", "--json").json["total"] == 2


def test_with_yes_it_deletes_what_matches_and_is_closed(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")
    perdure("start", "approval", "--id", "open")
    until("open", lambda status: status.version is not None)

    said = perdure("purge", "--roots", "--yes")
    left = [each["instance_id"] for each in perdure("list", "--json").json["items"]]

    assert said.out == "deleted 1 trees, 1 instances\n"
    assert left == ["open"]
    document = perdure("purge", "--roots", "--yes", "--force", "--json").json
    assert document == {"request": "purge", "roots": 1, "instances": 1, "skipped": 0}


def test_a_purge_of_everything_must_be_meant(perdure, worker):
    said = perdure("purge", "--yes")

    assert said.status == 2
    assert "write --roots if you mean that" in said.err


def test_past_executions_are_pruned(perdure, worker):
    perdure("start", "rounds", "3", "--id", "a", "--wait")

    text = perdure("prune", "a", "--keep", "2")
    document = perdure("prune", "a", "--keep", "1", "--json").json

    assert text.out == "pruned a\n"
    assert document == {"items": [{"instance_id": "a", "request": "prune", "pruned": 1}]}
    assert len(perdure("executions", "a").out.splitlines()) == 1


def test_what_to_prune_must_be_said(perdure, worker):
    said = perdure("prune", "a")

    assert said.status == 2
    assert "--keep N, --before WHEN, or both" in said.err
