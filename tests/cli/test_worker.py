"""`perdure worker`: which registry it runs, how it ends, and what its log says."""

import json
import re
import signal
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest

from tests.cli.conftest import eventually, until
from tests.cli.processes import worker

SHOP = "tests.cli.shop:registry"
BODY = """
import asyncio

from perdure import OrchestrationContext, Registry, activity, orchestration


@activity(name="stubborn")
async def stubborn() -> None:
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()


@orchestration(name="hang")
async def hang(ctx: OrchestrationContext, text: str) -> None:
    ctx.trace_info(text, number=7)
    await ctx.schedule_activity(stubborn)


@orchestration(name="talk")
async def talk(ctx: OrchestrationContext, text: str) -> None:
    ctx.trace_info(text, number=7)


registry = Registry(stubborn, hang, talk)
other = Registry(talk)
"""

IMPATIENT = """
import logging
import os
import signal


class Impatient(logging.Handler):
    def emit(self, record):
        if "working on" in record.getMessage():
            os.kill(os.getpid(), signal.SIGTERM)


logging.basicConfig(level="INFO")
logging.root.addHandler(Impatient())
"""

TWICE = """
from perdure import Registry, activity


@activity(name="x")
def one() -> None: ...


@activity(name="x")
def two() -> None: ...


Registry(one, two)
"""


@pytest.fixture
def project(folder, monkeypatch):
    """A folder with a module `shop`, which is forgotten afterwards."""
    (folder / "shop.py").write_text(BODY, encoding="utf-8")
    before = set(sys.modules), list(sys.path)
    yield folder
    sys.path[:] = before[1]
    for name in set(sys.modules) - before[0]:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def test_it_works_until_ctrl_c_and_then_ends_well(perdure, project):
    with worker(SHOP, folder=project) as process:
        process.hear("working on sqlite:///perdure.db: 10 orchestrations, 3 activities; Ctrl-C ends it")
        assert perdure("start", "greeting", '"Ada"', "--wait").out == '"hello Ada"\n'
        process.send(signal.SIGINT)
        assert process.end() == 0

    assert "asked to stop: activities may go on for 10 s; another signal leaves at once" in process.log[-2]
    assert process.log[-1].endswith("ended; what was under way goes on with the next worker")
    assert perdure("workers").out == ""


def test_a_signal_that_comes_as_soon_as_it_works_is_heard(perdure, project):
    (project / "shop.py").write_text(BODY + IMPATIENT, encoding="utf-8")

    with worker("shop", folder=project) as process:
        assert process.end() == 0

    assert "ended; what was under way goes on with the next worker" in process.log[-1]
    assert perdure("workers").out == ""


def test_the_registry_is_called_registry_unless_it_is_said_otherwise(perdure, project):
    with worker("shop", folder=project) as process:
        process.hear("2 orchestrations, 1 activity;")
    with worker("shop:other", folder=project) as process:
        process.hear("1 orchestration, 0 activities;")


def test_a_second_ctrl_c_leaves_at_once(perdure, project):
    with worker("shop", "--grace", "3600", folder=project) as process:
        process.hear("working on")
        perdure("start", "hang", '"x"', "--id", "a")
        until("a", lambda status: status.version is not None)
        process.send(signal.SIGINT)
        process.hear("asked to stop")
        process.send(signal.SIGINT)
        assert process.end() == 1

    assert perdure("list", "--json").json["items"][0]["status"] == "running"


def test_its_options_reach_the_runtime(perdure, project):
    with worker("shop", "--name", "kitchen", "--url", "other.db", "--max-activities", "1", folder=project) as process:
        process.hear("working on other.db")
        assert perdure("workers", "--url", "other.db", "--json").json["items"][0]["name"] == "kitchen"


def test_its_log_says_which_instance_and_obeys_no_data(perdure, project):
    with worker("shop", folder=project) as process:
        process.hear("working on")
        perdure("start", "talk", '"\\u001b[31mred\\nline"', "--id", "a", "--wait")
        line = process.hear("red")

    assert line.endswith(" INFO    perdure.orchestration a: \\x1b[31mred\\nline number=7")


def test_its_log_can_be_json(perdure, project):
    with worker("shop", "--json", folder=project) as process:
        process.hear("working on")
        perdure("start", "talk", '"hello"', "--id", "a", "--wait")
        record = json.loads(process.hear("hello"))

    assert record["level"] == "info"
    assert record["message"] == "hello number=7"
    assert (record["instance_id"], record["fields"]) == ("a", {"number": 7})


def test_a_quieter_log_leaves_out_what_is_below(perdure, project):
    with worker("shop", "--log-level", "warning", folder=project) as process:
        eventually(lambda: perdure("start", "talk", '"hello"', "--wait").status == 0)
        process.send(signal.SIGTERM)
        assert process.end() == 0

    assert process.log == []


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "shp:registry",
            "there is no module 'shp' in {folder} or installed (did you mean 'shop'?): start the worker where",
        ),
        ("shop.registry", "there is no module 'shop.registry' in {folder} or installed"),
        ("no.such.module", "there is no module 'no', so no 'no.such.module' in {folder} or installed"),
        ("shop.py:registry", "'shop.py:registry' is a path: name the module, shop:registry"),
        ("./shop.py", "'./shop.py' is a path: name the module, shop:registry"),
        ("shop registry", "'shop registry' names no module: write module:registry, as in shop.registry:registry"),
        ("shop:regstry", "shop:regstry is not there: the registries in that module are shop:registry, shop:other"),
        ("shop:talk", "shop:talk is <orchestration talk 1.0.0> and no Registry: the registries in that module are"),
        ("shop:BODY", "shop:BODY is not there"),
        ("json", "json:registry is not there: write `registry = Registry(...)` in it"),
        ("project", "project:registry is not there: did you mean project.registry:registry?"),
        ("json:dumps", "json:dumps is a function and no Registry"),
        (
            "broken",
            "importing broken raised ZeroDivisionError: division by zero (broken.py:3); `python -c 'import broken'`",
        ),
        ("needs", "importing needs raised ModuleNotFoundError: No module named 'nowhere_at_all' (needs.py:1)"),
        ("typo", "importing typo raised SyntaxError: "),
        ("leaves", "importing leaves raised SystemExit: 5 (leaves.py:2)"),
        ("twice", "twice can't be used: two activities are named 'x': "),
    ],
)
def test_a_target_that_is_none_is_told_with_what_is_there(perdure, project, target, expected):
    modules = {
        "broken": "def f():\n    return 1\n1 / 0\n",
        "needs": "import nowhere_at_all\n",
        "typo": "def f(:\n",
        "leaves": "import sys\nsys.exit(5)\n",
        "twice": TWICE,
    }
    (project / "project").mkdir()
    (project / "project" / "__init__.py").touch()
    (project / "project" / "registry.py").touch()
    for name, text in modules.items():
        (project / f"{name}.py").write_text(text, encoding="utf-8")

    said = perdure("worker", target)

    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("perdure: ")
    assert said.err.count("\n") == 1
    assert expected.format(folder=project) in said.err
    assert not (project / "perdure.db").exists()


def test_a_store_that_can_t_be_opened_is_told_with_the_reason_for_it(perdure, project):
    said = perdure("worker", "shop", "--url", "nowhere/shop.db")

    assert said.status == 1
    assert "there is no folder" in said.err
    assert said.err.endswith(" (--url is nowhere/shop.db)\n")


def test_an_option_that_the_runtime_refuses_is_a_wrong_call(perdure, project):
    assert perdure("worker", "shop", "--grace", "-1").status == 2
    assert perdure("worker", "shop", "--max-activities", "0").status == 2


def test_it_serves_its_metrics_where_it_is_told_to(perdure, project):
    with worker(SHOP, "--metrics-port", "0", folder=project) as process:
        url = process.hear("metrics at http://127.0.0.1:").partition("metrics at ")[2]
        process.hear("working on")
        # What the store tells of the second, the worker has counted of the first.
        for _ in range(2):
            assert perdure("start", "greeting", '"Ada"', "--wait").out == '"hello Ada"\n'

        with urllib.request.urlopen(url) as page:  # noqa: S310 - the worker's own
            told = page.read().decode()

        taken = urlsplit(url).port
        refused = perdure("worker", SHOP, "--metrics-port", str(taken))
        process.send(signal.SIGINT)
        assert process.end() == 0

    assert re.search(
        r'^perdure_orchestration_ends_total{orchestration="\S+",status="completed",version="\S+"} [12]\.0$',
        told,
        re.MULTILINE,
    )
    assert refused.status == 1
    assert f"metrics can't be served at 127.0.0.1:{taken}" in refused.err
    assert "choose another --metrics-port" in refused.err
