"""The command `perdure new`: a project with an orchestration that runs, a test that passes, and linters that agree."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.exits import DONE, Refusal
from perdure.cli.output import json_option, write_json, write_lines
from perdure.cli.text import safe, shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_SUFFIX = ".tmpl"
PROJECT_NAME_CHARS_MAX = 40
"""Longer ones would make lines of the project too long."""
# Folders of the project itself, and packages that would be hidden by one of this name.
_TAKEN = {"perdure", "tests", "test", "click", "rich", "apsw", "msgspec", "mypy", "pytest", "ruff"}


def package_of(name: str) -> str:
    """The package of a project.

    Raises:
        click.BadParameter: The name can't be one.
    """
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > PROJECT_NAME_CHARS_MAX:
        raise click.BadParameter(
            f"{name!r} can't be the name of a project: use lower-case letters, digits and dashes, at most "
            f"{PROJECT_NAME_CHARS_MAX}, as in my-shop"
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in _TAKEN:
        raise click.BadParameter(
            f"{name!r} is the name of something that Python code imports: choose another, as my-{name}"
        )
    return package


def make_project(name: str, folder: Path) -> list[Path]:
    """Write the project into a folder that is not there yet, or empty; the files, relative to it.

    Raises:
        click.BadParameter: The name can't be that of a package.
        Refusal: The folder is in use, or can't be written.
    """
    package = package_of(name)
    words = {"name": name, "package": package, "dashed": package.replace("_", "-")}
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Refusal(f"there is already something in {folder}: choose another name, or empty it")
        made = []
        for path, text in _templates(files("perdure.cli") / "template"):
            relative = Path(*(package if part == "package" else part for part in path))
            relative = relative.with_name(".gitignore" if relative.name == "gitignore" else relative.name)
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(text, words), encoding="utf-8")
            made.append(relative)
    except OSError as error:
        raise Refusal(
            f"{error.filename or folder} can't be written ({error.strerror}): choose another place"
        ) from error
    return sorted(made)


def _templates(folder: Traversable, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, (*above, entry.name))
        elif entry.name.endswith(_SUFFIX):
            yield (*above, entry.name.removesuffix(_SUFFIX)), entry.read_text(encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text


@click.command()
@click.argument("name")
@json_option
def new(*, name: str, as_json: bool) -> int:
    """Make a project in a new folder NAME: an orchestration, its activities, tests, ruff and mypy set up."""
    folder = Path(name)
    made = make_project(name, folder)
    package = package_of(name)
    if as_json:
        write_json({"folder": str(folder.absolute()), "package": package, "files": [path.as_posix() for path in made]})
        return DONE
    order = """'{"id": "order-1", "items": ["book", "lamp", "cup"]}'"""
    write_lines(
        [
            [("Made ", ""), (safe(f"{folder}/"), "bold"), (f" with {len(made)} files. Next:", "")],
            [],
            [(f"  cd {shell_word(str(folder))}", "")],
            [(f"  perdure worker {package}.registry:registry", "")],
            [],
            [("and in another terminal, in the same folder:", "")],
            [],
            [(f"  perdure start ship-order {order} --id order-1", "")],
            [("  perdure show order-1", "")],
            [],
            [("README.md says the rest.", "")],
        ]
    )
    return DONE
