"""Which files become a store, and what a file that can't be one is answered, untouched."""

import shutil
import stat
import tempfile
from pathlib import Path

import apsw
import pytest

from perdure.errors import DatabaseCorruptError, ForeignDatabaseError, SchemaVersionError, StorageError, UsageError
from perdure.storage.sqlite import SqliteStorage
from perdure.storage.sqlite.files import mounted_kind
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World
from tests.storage.sqlite.processes import as_nobody, in_fork


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def open_folder():
    """A folder that also a process without rights of its own can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write_with_sqlite(path, *statements):
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_new_file_is_for_its_owner_only(path):
    storage = SqliteStorage(path)
    storage.register(name="w", orchestrations=[], activities=[])
    assert {mode(each) for each in path.parent.iterdir() if each.is_file()} == {0o600}
    assert mode(path.parent / "store.db.locks") == 0o700
    storage.close()


def test_a_relative_path_stays_the_same_file_when_the_program_moves_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = SqliteStorage("store.db")
    monkeypatch.chdir("/")
    worker = storage.register(name="w", orchestrations=[], activities=[])
    assert [row.worker for row in storage.workers()] == [worker.worker]
    storage.close()
    assert (tmp_path / "store.db").exists()


@pytest.mark.parametrize("name", ["", ":memory:", "a\0b"])
def test_what_names_no_file_is_a_usage_error(name):
    with pytest.raises(UsageError, match="memory://"):
        SqliteStorage(name)


def test_an_unknown_durability_is_a_usage_error(path):
    with pytest.raises(UsageError, match="'fast'"):
        SqliteStorage(path, durability="fast")
    assert not path.exists()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=f"no folder {tmp_path}/missing"):
        SqliteStorage(tmp_path / "missing" / "store.db")


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(StorageError, match="no regular file"):
        SqliteStorage(tmp_path)


@pytest.mark.parametrize("content", [b"order,amount\n" * 1000, b"x", b"SQLite format 3\0" + b"\0" * 2000])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises((ForeignDatabaseError, DatabaseCorruptError), match=str(path)):
        SqliteStorage(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path):
    write_with_sqlite(path, "CREATE TABLE song (title TEXT)", "PRAGMA user_version = 1")
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError, match="another program"):
        SqliteStorage(path)
    assert path.read_bytes() == before


def test_a_database_with_another_application_id_is_refused(path):
    write_with_sqlite(path, "PRAGMA application_id = 7", "PRAGMA user_version = 1")
    with pytest.raises(ForeignDatabaseError, match="application id 0x7"):
        SqliteStorage(path)


def test_an_empty_file_becomes_a_store(path):
    path.touch()
    storage = SqliteStorage(path)
    assert storage.workers() == []
    storage.close()


@pytest.mark.parametrize("size", [512, 1536, 2048])
def test_what_a_power_cut_left_of_a_file_in_the_making_becomes_a_store(path, size):
    path.write_bytes(bytes(size))
    SqliteStorage(path).close()
    assert path.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("content", [bytes(4096), bytes(2047) + b"x", b"x" + bytes(2047)])
def test_a_file_that_is_not_all_zeros_or_too_long_for_that_is_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(ForeignDatabaseError):
        SqliteStorage(path)
    assert path.read_bytes() == content


def test_a_newer_schema_is_refused_and_left_as_it_is(path):
    SqliteStorage(path).close()
    write_with_sqlite(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(SchemaVersionError, match=r"schema 99.*upgrade"):
        SqliteStorage(path)
    assert path.read_bytes() == before


def test_a_truncated_file_is_called_damaged(path):
    SqliteStorage(path).close()
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(DatabaseCorruptError, match=f"{path} is damaged"):
        SqliteStorage(path).register(name="w", orchestrations=[], activities=[])


def test_a_read_only_file_is_named_with_the_right_that_is_missing(open_folder):
    path = open_folder / "store.db"
    SqliteStorage(path).close()
    path.chmod(0o444)
    assert in_fork(as_nobody(lambda: SqliteStorage(path))).startswith(
        f"StorageError: {path} can't be read and written by this user"
    )


def test_a_read_only_folder_is_named_with_the_right_that_is_missing(open_folder):
    path = open_folder / "store.db"
    SqliteStorage(path).close()
    path.chmod(0o646)
    open_folder.chmod(0o555)
    answer = in_fork(as_nobody(lambda: SqliteStorage(path)))
    new = in_fork(as_nobody(lambda: SqliteStorage(open_folder / "new.db")))
    open_folder.chmod(0o700)
    assert answer.startswith(f"StorageError: {open_folder} can't be written by this user")
    assert new.startswith(f"StorageError: {open_folder}/new.db can't be made")


def test_a_copy_without_its_log_opens_with_what_was_checkpointed(path, tmp_path):
    clock = ManualClock()
    first = SqliteStorage(path, clock=clock)
    World(first, clock, lambda: first).start("kept")
    first.close()
    again = SqliteStorage(path, clock=clock)
    World(again, clock, lambda: again).start("in the log only", incarnation=5)
    # Another process takes the copy: here its handle on the file would be our own.
    assert in_fork(lambda: shutil.copy(path, tmp_path / "copy.db")).endswith("copy.db")
    copy = SqliteStorage(tmp_path / "copy.db", clock=clock)
    assert copy.get("kept") is not None
    assert copy.get("in the log only") is None
    copy.close()
    again.close()


def test_a_file_that_was_deleted_while_open_takes_no_more_work(path):
    storage = SqliteStorage(path)
    path.unlink()
    with pytest.raises(ForeignDatabaseError, match=f"{path} was deleted or moved"):
        storage.register(name="w", orchestrations=[], activities=[])
    storage.close()
    assert not path.exists()


def test_a_file_that_was_replaced_while_open_takes_no_more_work(path, tmp_path):
    storage = SqliteStorage(path)
    other = SqliteStorage(tmp_path / "other.db")
    other.close()
    (tmp_path / "other.db").replace(path)
    with pytest.raises(ForeignDatabaseError, match=f"{path} was replaced"):
        storage.register(name="w", orchestrations=[], activities=[])
    storage.close()


def test_a_closed_store_says_so(path):
    storage = SqliteStorage(path)
    storage.close()
    storage.close()
    with pytest.raises(StorageError, match="is closed"):
        storage.workers()


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /srv/shared rw,relatime shared:1 - nfs4 server:/export rw
31 30 254:1 / /srv/shared/local rw - xfs /dev/vdb rw
32 22 0:41 / /mnt/my\\040cloud rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "ext4"),
        ("/", "ext4"),
        ("/srv/shared", "nfs4"),
        ("/srv/shared/a/b", "nfs4"),
        ("/srv/shared-not", "ext4"),
        ("/srv/shared/local/a", "xfs"),
        ("/mnt/my cloud/a", "fuse.sshfs"),
    ],
)
def test_the_kind_of_a_folders_file_system_is_that_of_its_innermost_mount(folder, kind):
    assert mounted_kind(MOUNTS, folder) == kind


def test_a_file_system_on_which_locks_do_not_hold_is_refused_unless_allowed(path, monkeypatch):
    monkeypatch.setattr("perdure.storage.sqlite.files.file_system", lambda _: "nfs4")
    with pytest.raises(StorageError, match="lies on a nfs4 file system"):
        SqliteStorage(path)
    assert not path.exists()
    storage = SqliteStorage(path, allow_shared=True)
    worker = storage.register(name="w", orchestrations=[], activities=[])
    assert storage.reap(worker.worker).buried == 0
    storage.close()
