"""No other SQLite library opens the file of a store that this process has open."""

import os
import sqlite3
import subprocess
import sys

import pytest

from perdure.errors import UsageError
from perdure.storage.sqlite import SqliteStorage


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def storage(path):
    storage = SqliteStorage(path)
    yield storage
    storage.close()


@pytest.mark.parametrize(
    "named",
    [
        str,
        lambda path: path,
        os.fsencode,
        lambda path: f"file:{path}",
        lambda path: f"file:{path}?mode=ro",
        lambda path: f"file://{path}",
        lambda path: f"file://localhost{path}?mode=ro#x",
        lambda path: f"file:{str(path).replace('store', '%73tore')}",
        lambda path: path.parent / "." / path.name,
    ],
)
def test_the_file_is_refused_under_every_name_and_the_reason_is_given(storage, path, named):
    with pytest.raises(UsageError, match="drop each other's locks"):
        sqlite3.connect(named(path), uri=True)


def test_a_link_to_the_file_is_refused(storage, path, tmp_path):
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(UsageError, match=r"link\.db"):
        sqlite3.connect(tmp_path / "link.db")


def test_a_relative_name_is_refused(storage, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"store\.db"):
        sqlite3.connect("store.db")


def test_other_files_are_nobodys_business(storage, tmp_path):
    for name in (tmp_path / "own.db", ":memory:", "file::memory:?cache=shared", f"file:{tmp_path}/own.db"):
        sqlite3.connect(name, uri=True).close()


def test_a_store_that_all_have_closed_may_be_opened_by_others(path):
    first, second = SqliteStorage(path), SqliteStorage(path)
    first.close()
    with pytest.raises(UsageError):
        sqlite3.connect(path)
    second.close()
    sqlite3.connect(path).close()


IMPORTED_LATER = """
import sys
from perdure.storage.sqlite import SqliteStorage, guard

storage = SqliteStorage(sys.argv[1])
assert "_sqlite3" not in sys.modules and not guard._watch.listening
import sqlite3
try:
    sqlite3.connect(sys.argv[1])
except Exception as error:
    print(type(error).__name__)
storage.close()
sqlite3.connect(sys.argv[1]).close()
"""


def test_one_that_is_imported_later_is_refused_too_and_costs_nothing_before_that(path):
    said = subprocess.run(
        [sys.executable, "-c", IMPORTED_LATER, str(path)], capture_output=True, text=True, check=True, timeout=60
    )

    assert said.stdout == "UsageError\n"
