"""Bringing a schema to what this release needs.

Laws kept here: one process at a time changes a schema, under an advisory lock, and all in one transaction; a schema
that holds data is upgraded only by who says so (`migrate`), never by a worker that happens to start; what is newer than
this release is refused in words.

A migration expands (adds what the release before does not look at) or contracts (removes what this one does not look at
any more), never both, so that two releases next to each other run on one schema.
"""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from perdure.errors import ForeignDatabaseError, SchemaVersionError, StorageError
from perdure.storage.postgres.arrays import bigint, text
from perdure.storage.postgres.failures import FailedError, meaning
from perdure.storage.postgres.session import begin
from perdure.storage.postgres.statements import qualified
from perdure.storage.postgres.wire import LOCK_MS_MAX, Wire


def read_migrations(folder: Path) -> dict[int, str]:
    """The scripts of a folder ("0001_first.sql") by the schema version that each leads to."""
    return {int(path.name[:4]): path.read_text(encoding="utf-8") for path in sorted(folder.glob("[0-9]*.sql"))}


MIGRATIONS = read_migrations(Path(__file__).with_name("migrations"))
"""All that lead to the schema of this release."""

OLDEST_READ = 1
"""The oldest schema that this release can work on."""

_CREATE = """
CREATE SCHEMA IF NOT EXISTS perdure_schema;
CREATE TABLE perdure.schema_versions (version bigint PRIMARY KEY, applied_at bigint NOT NULL);
"""


def check(wire: Wire, schema: str, place: str, *, create: bool, migrations: Mapping[int, str] = MIGRATIONS) -> None:
    """See to it that the schema can be worked on; make it, if there is none.

    Raises:
        ForeignDatabaseError: The schema has tables of somebody else; it was left as it is.
        SchemaVersionError: It is of a release that this one can't share it with.
        StorageError: There is none, and it may not be made.
    """
    present = _present(wire, schema, place)
    newest = max(migrations)
    if present == 0:
        if not create:
            raise StorageError(
                f"{place} has no store in schema {schema}: start a worker on it, or run "
                "`python -m perdure.storage.postgres migrate URL`"
            )
        migrate(wire, schema, place, migrations=migrations)
    elif present > newest:
        raise SchemaVersionError(
            f"{place} has version {present} of schema {schema}, and this release of Perdure knows up to {newest}: "
            "upgrade Perdure; the schema was left as it is"
        )
    elif present < OLDEST_READ:
        raise SchemaVersionError(
            f"{place} has version {present} of schema {schema}, and this release of Perdure needs {OLDEST_READ} or "
            "newer: run `python -m perdure.storage.postgres migrate URL`"
        )


def migrate(wire: Wire, schema: str, place: str, *, migrations: Mapping[int, str] = MIGRATIONS) -> int:
    """Bring the schema to the newest version; returns which. Harmless when it has it already.

    Raises:
        ForeignDatabaseError: The schema has tables of somebody else; it was left as it is.
        SchemaVersionError: It is newer than this release.
        StorageError: The role may not do that, or the server can't.
    """
    newest = max(migrations)
    try:
        # Who makes a schema takes longer than anybody waits in a commit.
        patience = ("restore_limit", (text(f"{LOCK_MS_MAX}ms"),))
        wire.run([*begin(wire), patience, ("lock_schema", (bigint(lock_key(schema)),))])
        present = _present(wire, schema, place)
        if present > newest:
            raise SchemaVersionError(f"{place} has version {present} of schema {schema}: upgrade Perdure first")
        if present == 0:
            wire.run_text(qualified(_CREATE.replace("perdure_schema", f'"{schema}"'), schema))
        for version in sorted(migrations):
            if version > present:
                wire.run_text(qualified(migrations[version], schema))
                wire.run([("add_schema_version", (bigint(version),))])
        wire.run([("commit", ())])
    except FailedError as exc:
        wire.run([("rollback", ())])
        if exc.error.sqlstate == "42501":
            raise StorageError(
                f"{place} does not let this role make or change schema {schema} ({exc}): run "
                "`python -m perdure.storage.postgres migrate URL` as a role that may create schemas there"
            ) from None
        raise meaning(exc.error, place, schema) from None
    except (ForeignDatabaseError, SchemaVersionError):
        wire.run([("rollback", ())])
        raise
    return newest


def _present(wire: Wire, schema: str, place: str) -> int:
    """The version that is there; 0 for none."""
    [[(_, is_ours, has_something)]] = wire.run([("relations", (text(schema),))])
    if is_ours:
        [[(version,)]] = wire.run([("schema_version", ())])
        return int(version)
    if has_something:
        raise ForeignDatabaseError(
            f"{place} has tables in schema {schema} that are not Perdure's: name another by ?schema= in the URL; they "
            "were left as they are"
        )
    return 0


def lock_key(schema: str) -> int:
    """The number of the advisory lock under which a schema is changed."""
    return int.from_bytes(blake2b(f"perdure {schema}".encode(), digest_size=8).digest(), "big", signed=True)
