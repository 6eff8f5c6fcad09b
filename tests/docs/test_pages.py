"""What the documentation shows is so: blocks run, links lead somewhere, commands exist."""

import json
import re
import shlex
import tomllib
from urllib.parse import urlsplit

import click
import pytest

from perdure.cli.app import cli
from tests.docs.pages import PAGES, ROOT, Page

EVERY_PAGE = [pytest.param(Page(path), id=path.relative_to(ROOT).as_posix()) for path in PAGES]
LANGUAGES = {"python", "sh", "toml", "json", "text", "sql"}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_python_blocks_run(page, make_runner, capsys):
    make_runner(page).run()


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_links_lead_somewhere(page):
    lost = []
    for target in page.links:
        url = urlsplit(target)
        if url.scheme:
            assert url.scheme == "https", target
            continue
        path = (page.path.parent / url.path).resolve() if url.path else page.path
        if not path.exists() or (url.fragment and url.fragment not in Page(path).anchors):
            lost.append(target)
    assert not lost


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_every_block_says_its_language(page):
    assert {block.language for block in page.blocks} <= LANGUAGES


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_settings_and_data_can_be_read(page):
    for block in page.blocks_of("toml"):
        tomllib.loads(block.code)
    for block in page.blocks_of("json"):
        json.loads(block.code)


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_commands_exist(page):
    files = {block.file for block in page.blocks_of("python")}
    for block in page.blocks_of("sh"):
        for line in block.code.splitlines():
            words = line.partition("#")[0].split()
            match words:
                case ["make", target, *_]:
                    assert target in TARGETS, line
                case ["python", script] if script.endswith(".py"):
                    assert script in files, line
                case ["python", "-m", "examples.demo" | "asyncio" | "venv" | "pytest", *_]:
                    pass
                case ["python", "-m", "perdure.storage.postgres", "migrate", _] | [
                    "python",
                    "-m",
                    "perdure.storage.postgres",
                    "grant",
                    "run" | "view",
                    _,
                    _,
                ]:
                    pass
                case ["perdure", *_] | ["eval", *_] if "perdure" in line:
                    _check_perdure(line)
                case [] | ["pip", "install", *_] | [".", ".venv/bin/activate"]:
                    pass
                case _:
                    pytest.fail(f"{page}: nobody checks that this works: {line}")


def _check_perdure(line: str) -> None:
    """Whether the command line takes these arguments; what they do is tested elsewhere."""
    if line.startswith('eval "$(_PERDURE_COMPLETE=bash_source perdure)"'):
        return
    for words in map(shlex.split, line.split(" && ")):
        match words:
            case ["perdure", name, *arguments]:
                command = cli.get_command(click.Context(cli), name)
                assert command is not None, line
                command.make_context(name, arguments)
            case _:
                assert words[0] == "cd", line


def test_every_page_can_be_found_from_the_readme():
    found: set = set()
    to_visit = [ROOT / "README.md"]
    while to_visit:
        path = to_visit.pop()
        if path in found or path.suffix != ".md":
            continue
        found.add(path)
        to_visit += [
            (path.parent / url.path).resolve() for url in map(urlsplit, Page(path).links) if not url.scheme and url.path
        ]
    assert set(PAGES) <= found
