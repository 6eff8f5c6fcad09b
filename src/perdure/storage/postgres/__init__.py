"""The PostgreSQL backend: `PostgresStorage`. Needs the extra `perdure[postgres]`."""

from perdure.storage.postgres.storage import PostgresStorage

__all__ = ["PostgresStorage"]
