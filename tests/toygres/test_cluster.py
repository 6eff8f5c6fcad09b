"""The cluster of this machine: whatever is asked twice is done once, whoever else is at it."""

import fcntl
import os
import socket

import pytest

from examples.toygres.activity_types import JobState, ServerState
from examples.toygres.cluster import (
    BusyError,
    ClusterError,
    LocalCluster,
    NoImageError,
    NoPortError,
    NoVolumeError,
    UnusableClusterError,
)
from examples.toygres.cluster.holds import hold, is_held
from examples.toygres.cluster.ports import HOST, Ports
from tests.toygres.planes import processes_of


@pytest.fixture
def ports(tmp_path):
    return Ports(tmp_path, range(17000, 17003))


def _listen_on(port):
    return socket.create_server((HOST, port))


def test_a_port_belongs_to_one_server_until_it_is_released(ports, tmp_path):
    taken = [ports.reserve(name) for name in ("a", "b", "c")]

    assert sorted(taken) == [17000, 17001, 17002]
    assert [ports.reserve(name) for name in ("a", "b", "c")] == taken
    with pytest.raises(NoPortError, match="the 3 ports from 17000 to 17002 are all taken"):
        ports.reserve("d")
    ports.release("b")
    ports.release("b")
    assert ports.reserve("d") == taken[1]
    assert (ports.find("b"), ports.find("d")) == (None, taken[1])


def test_a_port_that_somebody_else_listens_on_is_given_up(ports):
    mine = ports.reserve("a")

    with _listen_on(mine):
        other = ports.reserve("a")

    assert other != mine
    assert ports.find("a") == other


def test_a_lock_is_held_by_whoever_has_its_file_open(tmp_path):
    (tmp_path / "lock").touch()
    with hold(tmp_path) as lock:
        inherited = os.dup(lock)
    assert is_held(tmp_path)
    with pytest.raises(BusyError), hold(tmp_path):
        pass

    os.close(inherited)

    assert not is_held(tmp_path)
    with hold(tmp_path):
        assert is_held(tmp_path)


def test_the_lock_of_a_folder_that_was_made_anew_is_no_lock(tmp_path):
    (tmp_path / "lock").touch()

    class Swapping(os.PathLike):
        """The folder, replaced between the opening of its lock and the taking of it."""

        def __truediv__(self, name):
            path = tmp_path / name
            opened, self.opened = getattr(self, "opened", False), True
            if opened:
                path.unlink(missing_ok=True)
                path.touch()
            return path

        def __fspath__(self):
            return str(tmp_path)

    with pytest.raises(BusyError, match="made anew"), hold(Swapping()):
        pass


def test_everything_may_be_asked_twice(site):
    cluster = site.open_cluster()

    for _ in range(2):
        cluster.prepare_volume("s-1", None)
        cluster.start("s-1", {"max_connections": "11"})
        assert cluster.readiness("s-1").state in {ServerState.STARTING, ServerState.READY}
    assert len([each for each in processes_of(site.folder) if _is_postmaster(each)]) == 1
    assert cluster.endpoint("s-1").port in site.ports
    assert cluster.readiness("s-2").state is ServerState.ABSENT
    with pytest.raises(BusyError):
        cluster.remove("s-1")
    _wait_until_idle(site, "s-1")
    for _ in range(2):
        cluster.remove("s-1")
    assert processes_of(site.folder) == []
    assert cluster.readiness("s-1").state is ServerState.ABSENT


def test_what_was_left_half_made_is_made_again(site):
    cluster = site.open_cluster()
    half = site.folder / "cluster" / "servers" / "s-1"
    (half / "data.unfinished" / "base").mkdir(parents=True)

    cluster.prepare_volume("s-1", None)

    assert sorted(each.name for each in half.iterdir()) == ["data", "lock", "pgpass"]
    cluster.remove("s-1")
    assert not half.exists()


def test_what_was_left_half_removed_is_removed(site):
    cluster = site.open_cluster()
    half = site.folder / "cluster" / "servers" / "s-1"
    (half / "data" / "base").mkdir(parents=True)
    (site.folder / "cluster" / "ports" / "15432").symlink_to("s-1")

    cluster.remove("s-1")

    assert not half.exists()
    assert list((site.folder / "cluster" / "ports").iterdir()) == []


def test_while_somebody_is_at_work_others_are_told_to_wait(site):
    cluster = site.open_cluster()
    cluster.prepare_volume("s-1", None)
    folder = site.folder / "cluster" / "servers"
    (folder / "s-2").mkdir()
    (folder / "s-2" / "lock").touch()
    with (folder / "s-1" / "lock").open() as first, (folder / "s-2" / "lock").open() as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            cluster.prepare_volume("s-2", None)
        with pytest.raises(BusyError):
            cluster.remove("s-1")
        assert cluster.start("s-1", {}) is None
    assert processes_of(site.folder) == []
    cluster.remove("s-1")
    cluster.remove("s-2")


def test_what_is_not_there_is_named(site):
    cluster = site.open_cluster()

    with pytest.raises(NoVolumeError, match="'s-1' has no data"):
        cluster.start("s-1", {})
    with pytest.raises(NoVolumeError, match="'s-1' has no port"):
        cluster.endpoint("s-1")
    with pytest.raises(NoImageError, match="no image 'i-1'"):
        cluster.prepare_volume("s-1", "i-1")
    assert cluster.backup("i-1").state is JobState.FAILED
    cluster.remove_image("i-1")
    cluster.remove("s-1")


@pytest.mark.parametrize("wrong", ["", "..", "../a", "a/b", "A", "a_b", "-a", "a" * 65, "ä"])
def test_no_id_leads_out_of_the_folder(site, wrong):
    cluster = site.open_cluster()

    for ask in (cluster.readiness, cluster.remove, cluster.backup, cluster.remove_image):
        with pytest.raises(UnusableClusterError, match="is no id of"):
            ask(wrong)


@pytest.mark.parametrize("wrong", ["", "a b", "--help", "a=b"])
def test_no_setting_becomes_another_option(site, wrong):
    with pytest.raises(UnusableClusterError, match="no name of a PostgreSQL setting"):
        site.open_cluster().start("s-1", {wrong: "1"})


def test_a_program_that_fails_says_why(site):
    cluster = site.open_cluster()
    cluster.prepare_volume("s-1", None)
    data = site.folder / "cluster" / "servers" / "s-1" / "data"
    (data / "postmaster.pid").write_text("nonsense")
    with (data.parent / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ClusterError, match="pg_ctl ended with code 1: .*postmaster.pid"):
            cluster.remove("s-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_is_told_what_stands_in_the_way(tmp_path):
    tmp_path.chmod(0o700)

    with pytest.raises(UnusableClusterError, match="user 'nobody', as whom PostgreSQL runs here, can't reach"):
        LocalCluster(tmp_path / "cluster")
    with pytest.raises(UnusableClusterError, match="no user 'nobody-at-all'"):
        LocalCluster(tmp_path / "cluster", user_when_root="nobody-at-all")


def _is_postmaster(process):
    return "-D" in process.info["cmdline"]


def _wait_until_idle(site, server_id):
    """Until the last process has let go: the system wakes who waits for the lock."""
    with (site.folder / "cluster" / "servers" / server_id / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
