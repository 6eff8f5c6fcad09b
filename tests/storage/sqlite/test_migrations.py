"""A file comes to the newest schema once, by one process, and after a backup if it held data."""

import stat

import apsw
import pytest

from perdure.errors import SchemaVersionError, StorageBusyError
from perdure.storage.sqlite import SqliteStorage
from perdure.storage.sqlite.files import connect
from perdure.storage.sqlite.migrations import MIGRATIONS, migrate, read_migrations
from tests.storage.sqlite.processes import Program

NEXT = {**MIGRATIONS, max(MIGRATIONS) + 1: "CREATE TABLE later (number INTEGER)"}
BROKEN = {**MIGRATIONS, max(MIGRATIONS) + 1: "CREATE TABLE later (number INTEGER); CREATE TABLE later (number INTEGER)"}
BACKUP = f"store.db.schema-{max(MIGRATIONS)}.backup"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "store.db"
    storage = SqliteStorage(path)
    storage.register(name="w", orchestrations=[], activities=[])
    storage.close()
    return path


@pytest.fixture
def connection(path):
    connection = connect(str(path), durability="full", busy_timeout_s=0.05)
    yield connection
    connection.close()


def tables(path):
    connection = apsw.Connection(str(path))
    found = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    connection.close()
    return found


def version(path):
    connection = apsw.Connection(str(path))
    found = connection.pragma("user_version")
    connection.close()
    return found


def test_the_migrations_are_numbered_without_a_gap():
    assert list(MIGRATIONS) == list(range(1, max(MIGRATIONS) + 1))


def test_scripts_are_read_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "0002_b.sql").write_text("two")
    (tmp_path / "0001_a.sql").write_text("one")
    (tmp_path / "notes.txt").write_text("none")
    assert read_migrations(tmp_path) == {1: "one", 2: "two"}


def test_an_upgrade_keeps_a_backup_beside_the_file(path, connection):
    migrate(connection, busy_timeout_s=0.05, migrations=NEXT)
    backup = path.parent / BACKUP
    assert ("later" in tables(path), version(path)) == (True, max(NEXT))
    assert ("later" in tables(backup), version(backup)) == (False, max(MIGRATIONS))
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert not (path.parent / f"{BACKUP}.partial").exists()


def test_others_may_come_in_after_an_upgrade(path, connection):
    migrate(connection, busy_timeout_s=0.05, migrations=NEXT)
    other = connect(str(path), durability="full", busy_timeout_s=0.05)
    migrate(other, busy_timeout_s=0.05, migrations=NEXT)
    other.close()


def test_a_current_file_is_left_alone(path, connection):
    migrate(connection, busy_timeout_s=0.05)
    assert not (path.parent / BACKUP).exists()


def test_an_upgrade_waits_for_the_others_to_leave_and_then_gives_up(path, connection):
    other = SqliteStorage(path)
    other.workers()
    with pytest.raises(StorageBusyError, match="locked by another process"):
        migrate(connection, busy_timeout_s=0.05, migrations=NEXT)
    assert len(other.workers()) == 1
    other.close()
    assert version(path) == max(MIGRATIONS)


def test_a_migration_that_breaks_off_changes_nothing(path, connection):
    with pytest.raises(Exception, match="later"):
        migrate(connection, busy_timeout_s=0.05, migrations=BROKEN)
    connection.close()
    assert ("later" in tables(path), version(path)) == (False, max(MIGRATIONS))


def test_an_older_release_refuses_what_a_newer_one_has_upgraded(path, connection):
    migrate(connection, busy_timeout_s=0.05, migrations=NEXT)
    connection.close()
    with pytest.raises(SchemaVersionError, match=f"schema {max(NEXT)}"):
        SqliteStorage(path)


OPENING = """
import sys
from perdure.storage.sqlite import SqliteStorage
print("ready", flush=True)
sys.stdin.readline()
storage = SqliteStorage(sys.argv[1])
storage.register(name="w", orchestrations=[], activities=[])
print(len(storage.workers()) > 0, flush=True)
sys.stdin.readline()
"""


def test_processes_that_open_a_new_file_at_once_all_get_in(tmp_path):
    path = tmp_path / "new.db"
    programs = [Program(OPENING, path) for _ in range(4)]
    try:
        assert [program.hear() for program in programs] == ["ready"] * 4
        for program in programs:
            program.say()
        assert [program.hear() for program in programs] == ["True"] * 4
        storage = SqliteStorage(path)
        assert len(storage.workers()) == 4
        storage.close()
    finally:
        for program in programs:
            program.__exit__()
