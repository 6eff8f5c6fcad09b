"""What the activities of Toygres use, and the folder in which a control plane keeps everything."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.toygres.cluster import PORTS, Cluster, LocalCluster
from examples.toygres.cms import Cms


@dataclass(frozen=True)
class Resources:
    """`ctx.state(Resources)` in an activity."""

    cluster: Cluster
    cms: Cms


@dataclass(frozen=True)
class Site:
    """A folder with Perdure's store, the CMS and a cluster in it. Several control planes may share one."""

    folder: Path
    ports: range = PORTS
    durable: bool = True

    @property
    def store(self) -> Path:
        """Perdure's store."""
        return self.folder / "perdure.db"

    @property
    def cms(self) -> Path:
        """The CMS."""
        return self.folder / "cms.db"

    def open_cluster(self) -> LocalCluster:
        """The cluster.

        Raises:
            UnusableClusterError: Servers can't run here.
        """
        return LocalCluster(self.folder / "cluster", ports=self.ports, durable=self.durable)

    @property
    def lifespan(self) -> Callable[[], AbstractAsyncContextManager[Resources]]:
        """Opens the CMS and the cluster for a worker's activities."""

        @asynccontextmanager
        async def open_resources() -> AsyncIterator[Resources]:
            cms = Cms(self.cms)
            try:
                yield Resources(self.open_cluster(), cms)
            finally:
                cms.close()

        return open_resources
