"""`perdure new`: the project that it makes runs, and its own tests, ruff and mypy pass, whatever its name is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.processes import environment, worker

LONG = "a-name-of-forty-letters-is-the-longest-y"
TIMEOUT_S = 100
LINTERS = (("ruff", "check"), ("ruff", "format", "--check"))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_its_own_tests_and_linters_pass(perdure, folder):
    assert perdure("new", "my-shop").status == 0

    for command in (*LINTERS, ("mypy",), ("pytest", "-q", "-p", "no:cacheprovider", "-W", "error")):
        done = run(folder / "my-shop", *command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_a_long_name_makes_no_line_too_long(perdure, folder):
    assert perdure("new", LONG).status == 0

    for command in LINTERS:
        done = run(folder / LONG, *command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_ruff_would_break_it_without_the_settings_about_annotations(perdure, folder):
    perdure("new", "shop")
    settings = folder / "shop" / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("runtime-evaluated-")]
    settings.write_text("".join(lines), encoding="utf-8")
    module = folder / "shop" / "shop" / "activities" / "carrier" / "book.py"
    module.write_text("from __future__ import annotations\n" + module.read_text(encoding="utf-8"), encoding="utf-8")

    broken = run(folder / "shop", "ruff", "check", "--select", "TC", "--output-format", "concise")
    settings.write_text(text, encoding="utf-8")
    mended = run(folder / "shop", "ruff", "check", "--select", "TC", "--output-format", "concise")

    assert "TC001" in broken.stdout
    assert (mended.returncode, mended.stdout) == (0, "All checks passed!\n")


def test_it_has_the_structure_that_the_skill_describes(perdure, folder):
    files = perdure("new", "shop", "--json").json["files"]

    package = {path.removeprefix("shop/") for path in files if path.startswith("shop/")}
    assert {"registry.py", "orchestration_types.py", "activity_types.py", "names.py"} <= package
    assert {"orchestrations/ship_order.py", "activities/pack.py", "activities/carrier/book.py"} <= package
    assert {"README.md", "pyproject.toml", ".gitignore", "tests/test_ship_order.py"} <= set(files)
    written = {path.relative_to(folder / "shop").as_posix() for path in (folder / "shop").rglob("*") if path.is_file()}
    assert written == set(files)


def test_nothing_is_left_to_fill_in(perdure, folder):
    perdure("new", "my-shop")

    for path in (folder / "my-shop").rglob("*"):
        if path.is_file():
            assert "{{" not in path.read_text(encoding="utf-8")


def test_the_commands_that_it_names_work(perdure, folder, monkeypatch):
    said = perdure("new", "my-shop").out
    readme = (folder / "my-shop" / "README.md").read_text(encoding="utf-8")
    start = """perdure start ship-order '{"id": "order-1", "items": ["book", "lamp", "cup"]}' --id order-1"""
    assert start in said
    assert start in readme
    assert "perdure worker my_shop.registry:registry" in said
    assert "perdure worker my_shop.registry:registry" in readme
    monkeypatch.chdir(folder / "my-shop")

    with worker("my_shop.registry:registry", folder=folder / "my-shop") as process:
        process.hear("working on")
        perdure("start", "ship-order", '{"id": "order-1", "items": ["book", "lamp", "cup"]}', "--id", "order-1")
        process.hear("packing order=order-1 item=book")
        perdure("raise", "order-1", "express")
        ended = perdure("wait", "order-1")

    assert (ended.status, ended.json["parcels"]) == (0, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My Shop", "'My Shop' can't be the name of a project: use lower-case letters, digits and dashes, at most 40"),
        ("../shop", "can't be the name of a project"),
        (".", "can't be the name of a project"),
        ("1shop", "can't be the name of a project"),
        ("shop-", "can't be the name of a project"),
        ("x" * 41, "can't be the name of a project"),
        ("class", "'class' is the name of something that Python code imports: choose another, as my-class"),
        ("json", "'json' is the name of something"),
        ("perdure", "'perdure' is the name of something"),
        ("tests", "'tests' is the name of something"),
    ],
)
def test_a_name_that_can_t_be_a_package_is_refused(perdure, folder, name, expected):
    said = perdure("new", name)

    assert said.status == 2
    assert expected in said.err
    assert list(folder.iterdir()) == []


def test_a_folder_in_use_is_left_as_it_is(perdure, folder):
    (folder / "shop").mkdir()
    (folder / "shop" / "notes.txt").write_text("mine", encoding="utf-8")

    said = perdure("new", "shop")

    assert (said.status, said.err) == (
        1,
        "perdure: there is already something in shop: choose another name, or empty it\n",
    )
    assert [path.name for path in (folder / "shop").iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_filled(perdure, folder):
    (folder / "shop").mkdir()

    assert perdure("new", "shop").status == 0


def test_a_place_that_can_t_be_written_is_told(perdure, folder, monkeypatch):
    (folder / "shop").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "shop/pyproject.toml")

    monkeypatch.setattr(Path, "write_text", refuse)

    said = perdure("new", "shop")

    assert (said.status, said.err) == (
        1,
        "perdure: shop/pyproject.toml can't be written (Permission denied): choose another place\n",
    )
