"""Where servers run. Activities know `Cluster` and nothing behind it; `LocalCluster` is the one on this machine."""

from examples.toygres.cluster.errors import (
    BusyError,
    ClusterError,
    NoImageError,
    NoPortError,
    NoVolumeError,
    UnusableClusterError,
)
from examples.toygres.cluster.local import PORTS, LocalCluster
from examples.toygres.cluster.protocol import Cluster

__all__ = [
    "PORTS",
    "BusyError",
    "Cluster",
    "ClusterError",
    "LocalCluster",
    "NoImageError",
    "NoPortError",
    "NoVolumeError",
    "UnusableClusterError",
]
