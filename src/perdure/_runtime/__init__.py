"""The shell: everything that runs, in threads of its own, around the deterministic core."""

from perdure._runtime.retention import Retention
from perdure._runtime.runtime import Runtime

__all__ = ["Retention", "Runtime"]
