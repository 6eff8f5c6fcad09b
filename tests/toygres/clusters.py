"""A cluster in memory: what the orchestrations ask of one, without processes."""

from collections.abc import Mapping

from examples.toygres.activity_types import BackupStatus, Endpoint, JobState, Readiness, ServerState
from examples.toygres.cluster import NoVolumeError


class MemoryCluster:
    """Servers that are ready when they were asked after a few times."""

    def __init__(self, *, looks_until_ready: int = 3) -> None:
        self._looks_until_ready = looks_until_ready
        self.volumes: dict[str, str | None] = {}
        self.looks: dict[str, int] = {}
        self.settings: dict[str, Mapping[str, str]] = {}
        self.images: dict[str, str] = {}
        self.busiest = 0
        """The most servers that were being started at a time."""

    def prepare_volume(self, server_id: str, image_id: str | None) -> None:
        self.volumes[server_id] = image_id

    def start(self, server_id: str, settings: Mapping[str, str]) -> None:
        self.settings[server_id] = settings
        self.looks.setdefault(server_id, 0)
        starting = [each for each, looks in self.looks.items() if looks < self._looks_until_ready]
        self.busiest = max(self.busiest, len(starting))

    def readiness(self, server_id: str) -> Readiness:
        if server_id not in self.looks:
            return Readiness(ServerState.ABSENT)
        self.looks[server_id] += 1
        if self.looks[server_id] < self._looks_until_ready:
            return Readiness(ServerState.STARTING)
        return Readiness(ServerState.READY)

    def endpoint(self, server_id: str) -> Endpoint:
        if server_id not in self.looks:
            raise NoVolumeError(server_id)
        return Endpoint("cluster.test", 5432, "postgres", "postgres", "/secret")

    def remove(self, server_id: str, *, urgently: bool = False) -> None:
        del urgently  # nothing hangs in here
        self.volumes.pop(server_id, None)
        self.looks.pop(server_id, None)

    def start_backup(self, server_id: str, image_id: str) -> None:
        self.images[image_id] = server_id

    def backup(self, image_id: str) -> BackupStatus:
        return BackupStatus(JobState.DONE if image_id in self.images else JobState.FAILED, 1)

    def remove_image(self, image_id: str) -> None:
        self.images.pop(image_id, None)
