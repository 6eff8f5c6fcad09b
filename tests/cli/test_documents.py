"""The JSON documents have the fields that docs/reference/cli.md lists, and no others."""

import re

import pytest

from tests.docs.pages import ROOT, Page

TABLE = re.compile(r"^\| (?P<commands>`[a-z`, ]+`) \| (?P<fields>.+) \|$", re.MULTILINE)
LISTED = {
    command: set(re.findall(r"`([a-z_]+)`", match["fields"]))
    for match in TABLE.finditer(Page(ROOT / "docs" / "reference" / "cli.md").text)
    for command in re.findall(r"`(\w+)`", match["commands"])
}


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("show", "open"),
        ("history", "open"),
        ("executions", "open"),
        ("count",),
        ("queues",),
        ("held",),
        ("workers",),
        ("new", "shop"),
    ],
    ids=lambda command: command[0],
)
def test_a_document_has_the_fields_that_are_listed(perdure, worker, command):
    perdure("start", "approval", "--id", "open")

    document = perdure(*command, "--json").json

    assert set(document) == LISTED[command[0]] - {"null"}


@pytest.mark.parametrize(
    "command",
    [
        ("raise", "open", "approved"),
        ("cancel", "open"),
        ("terminate", "open"),
        ("suspend", "open"),
        ("resume", "open"),
        ("retry", "open"),
        ("delete", "open", "--force"),
        ("prune", "open", "--keep", "1"),
    ],
    ids=lambda command: command[0],
)
def test_what_steers_lists_what_it_did(perdure, worker, command):
    perdure("start", "approval", "--id", "open")

    document = perdure(*command, "--json").json

    [item] = document["items"]
    assert set(document) == {"items"}
    assert item["request"] == command[0]
    assert set(item) <= LISTED[command[0]]
