"""What a role needs and no more: to run workers and clients on a store, or to look at it."""

from typing import Literal

from perdure.errors import StorageError
from perdure.storage.postgres.failures import FailedError, said_by
from perdure.storage.postgres.statements import qualified
from perdure.storage.postgres.wire import Wire

_RUN = """
GRANT USAGE ON SCHEMA perdure_schema TO perdure_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    perdure.instances, perdure.history, perdure.messages, perdure.dedup_keys, perdure.entries, perdure.timers,
    perdure.tasks, perdure.starts, perdure.workers, perdure.tokens, perdure.abilities, perdure.sessions, perdure.outbox,
    perdure.received, perdure.shard, perdure.gone
TO perdure_role;
GRANT SELECT ON perdure.instance_records, perdure.schema_versions TO perdure_role;
GRANT SELECT, USAGE ON SEQUENCE perdure.changes TO perdure_role;
GRANT SELECT ON SEQUENCE perdure.outbox_seq_seq TO perdure_role;
GRANT EXECUTE ON FUNCTION perdure.clock_us(), perdure.attributes_of(bytea) TO perdure_role;
"""

_VIEW = """
GRANT USAGE ON SCHEMA perdure_schema TO perdure_role;
GRANT SELECT ON
    perdure.instances, perdure.history, perdure.messages, perdure.entries, perdure.timers, perdure.tasks,
    perdure.workers, perdure.abilities, perdure.outbox, perdure.received, perdure.shard, perdure.instance_records,
    perdure.schema_versions
TO perdure_role;
GRANT SELECT ON SEQUENCE perdure.changes TO perdure_role;
GRANT EXECUTE ON FUNCTION perdure.clock_us(), perdure.attributes_of(bytea) TO perdure_role;
"""


def grant(wire: Wire, schema: str, role: str, purpose: Literal["run", "view"]) -> None:
    """Let a role run workers and clients on the store, or look at it; to be called by the schema's owner.

    Raises:
        StorageError: The server refuses, for example because there is no such role.
    """
    script = (_RUN if purpose == "run" else _VIEW).replace("perdure_schema", _quoted(schema))
    try:
        wire.run_text(qualified(script, schema).replace("perdure_role", _quoted(role)))
    except FailedError as exc:
        raise StorageError(f"the rights could not be given ({said_by(exc.error)})") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
