"""The reference storage: the contract in plain Python, for tests, simulation and `memory://`."""

from perdure.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
