"""What Toygres asks of the place where its servers run.

A cluster of another kind (Kubernetes, say: a volume claim, a stateful set, a service, a secret, a job) implements this
and is handed to the registry instead of `LocalCluster`; nothing else changes.
"""

from collections.abc import Mapping
from typing import Protocol

from examples.toygres.activity_types import BackupStatus, Endpoint, Readiness


class Cluster(Protocol):
    """Servers and images, by ids that are unique for ever.

    Every method looks first, and may be called any number of times, by several workers, also after one that died in
    the middle of it. None waits for long: what takes time is asked after with `readiness` and `backup`. They block, so
    they belong into plain `def` activities.

    All of them may raise `ClusterError`, which another try may cure, and `BusyError` among those: somebody, perhaps the
    orphan of a worker that was killed, is at work on the same thing.
    """

    def prepare_volume(self, server_id: str, image_id: str | None) -> None:
        """Make the server's data, with a superuser and its password: empty, or a copy of an image.

        Raises:
            NoImageError: There is no such image.
        """

    def start(self, server_id: str, settings: Mapping[str, str]) -> None:
        """Start the server on a port of its own, unless it runs. It may still die at once: ask `readiness`.

        Raises:
            NoVolumeError: Nothing is prepared.
            NoPortError: No port is free.
        """

    def readiness(self, server_id: str) -> Readiness:
        """What the server is doing."""

    def endpoint(self, server_id: str) -> Endpoint:
        """Where it listens.

        Raises:
            NoVolumeError: There is no such server.
        """

    def remove(self, server_id: str, *, urgently: bool = False) -> None:
        """Stop the server and remove its data, its secret and its port; `urgently` drops its clients' transactions."""

    def start_backup(self, server_id: str, image_id: str) -> None:
        """Begin to copy a running server into an image, unless that is under way or done."""

    def backup(self, image_id: str) -> BackupStatus:
        """How far that is."""

    def remove_image(self, image_id: str) -> None:
        """Remove an image, whole or not."""
