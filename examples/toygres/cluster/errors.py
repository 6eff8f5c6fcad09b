"""What a cluster may answer."""

from perdure import NonRetryableError


class ClusterError(Exception):
    """It did not work; it may the next time."""


class BusyError(ClusterError):
    """A process still works on this server or image: ask again when it has ended."""


class NoPortError(ClusterError):
    """All ports of the cluster are taken."""


class NoVolumeError(NonRetryableError):
    """The server has no data folder: it was never prepared, or it was removed."""


class NoImageError(NonRetryableError):
    """There is no such image, or it is not complete."""


class UnusableClusterError(NonRetryableError):
    """Nothing can run here before somebody changes the machine; the message says what."""
