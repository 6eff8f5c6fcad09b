"""What goes wrong with a server, and what it means to the caller.

Law kept here: what is not known to be final is tried again; no password and no payload gets into a message.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from psycopg import Error
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from perdure.errors import (
    DatabaseCorruptError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)

_TRY_AGAIN = {
    "23505",  # somebody else has just created what we have: the next look finds it
    "40001", "40P01", "55P03",  # serialization, deadlock, lock not available
}  # fmt: skip
_STALE_PLAN = "0A000"
_STATEMENT_MODE = "statement pooling mode"
_FULL = {"53100", "53200", "53400", "54023"}
_READ_ONLY = {"25006"}


class LostError(Exception):
    """The connection is gone, or there never was one (`connecting`)."""

    def __init__(self, reason: str, *, connecting: bool = False) -> None:
        super().__init__(reason)
        self.connecting = connecting


class FailedError(Exception):
    """The server refused a statement: `error` is what it said, `place` how many statements before it went well."""

    def __init__(self, error: Error, place: int) -> None:
        super().__init__(said_by(error))
        self.error = error
        self.place = place


def may_pass_at_once(error: Error) -> bool:
    """Whether the same may go well if it is tried again now: another was faster, or the schema has just changed."""
    return error.sqlstate in _TRY_AGAIN or _is_stale_plan(error)


def ends_connection(error: Error) -> bool:
    """Whether the connection is of no use any more: the server goes down, can't write, or has another schema now."""
    state = error.sqlstate or ""
    return state.startswith(("08", "57P")) or state in _READ_ONLY or _is_stale_plan(error)


def _is_stale_plan(error: Error) -> bool:
    return error.sqlstate == _STALE_PLAN and "plan" in str(error)


def has_no_transactions(reason: str) -> bool:
    """Whether a pooler refuses them."""
    return _STATEMENT_MODE in reason


def meaning(error: Error, place: str, schema: str) -> StorageError:
    """What an answer of the server means to a caller for whom nothing was applied."""
    state = error.sqlstate or ""
    said = said_by(error)
    if state in _FULL:
        return StorageFullError(f"{place} has no room ({said}): give it some, work then goes on")
    if state in _READ_ONLY or "recovery" in said:
        return StorageUnavailableError(
            f"{place} takes no writes ({said}): point the URL at the primary, or let this server write again"
        )
    if state in {"40001", "40P01", "55P03", "57014"}:
        return StorageBusyError(
            f"{place} was busy for too long ({said}): look for a session that keeps a transaction open"
        )
    if state == "42501":
        return StorageError(
            f"{place} does not let this role use schema {schema} ({said}): grant it what docs/reference/postgres.md "
            "lists for running"
        )
    if state in {"3F000", "42P01", "42883", "42703"}:
        return StorageError(
            f"{place} has no complete schema {schema} of this release ({said}): run "
            "`python -m perdure.storage.postgres migrate URL`"
        )
    if state.startswith("XX"):
        return DatabaseCorruptError(f"{place} reports damage ({said}): look at the server's log, restore a backup")
    if state.startswith(("22", "23", "42", "54")):
        return StorageError(f"{place} refused a statement ({state}: {said}); nothing was applied")
    # Shutting down, too many connections, out of memory, and whatever else the operator or time will mend.
    return StorageUnavailableError(f"{place} can't work now ({state or 'no code'}: {said}); it is tried again")


def last_words(answers: Sequence[PGresult]) -> str | None:
    """With which sentence the server, or a pooler before it, has closed the connection, if it has said one."""
    for answer in answers:
        # A pooler says it in one field, a server that speaks another language in the other.
        if b"FATAL" in map(answer.error_field, (DiagnosticField.SEVERITY, DiagnosticField.SEVERITY_NONLOCALIZED)):
            return (answer.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    return None


def said_by(error: Error) -> str:
    """The server's own sentence, without the details in which it quotes values."""
    primary: Any = error.diag.message_primary
    return str(primary or error).splitlines()[0]


_Final: TypeAlias = tuple[tuple[str, ...], str]

_OPERATOR: tuple[_Final, ...] = (
    (
        ("authentication failed", "no password supplied"),
        "refused the user or its password: check both in the URL (or PGPASSWORD, ~/.pgpass), and pg_hba.conf",
    ),
    (("no pg_hba.conf entry",), "lets nobody in from here as this user, or not without TLS: add a line to pg_hba.conf"),
    (("permission denied for database",), "does not let this role connect: GRANT CONNECT ON DATABASE to it"),
    (('role "',), "has no role of that name: create it, or name another user in the URL"),
    (('database "',), "has no database of that name: create it (createdb), or name another in the URL"),
    (
        ("no such database",),
        "is a PgBouncer without that database: add it to its [databases], or name another in the URL",
    ),
    (
        ("unsupported startup parameter",),
        "is behind a PgBouncer that refuses a setting of the connection: unset PGOPTIONS and the like",
    ),
    ((_STATEMENT_MODE,), "is behind a PgBouncer without transactions: set its pool_mode to transaction"),
    (("server does not support ssl",), "does not speak TLS: give it a certificate, or ask for sslmode=prefer"),
    (("certificate",), "could not prove who it is: check sslmode and sslrootcert in the URL"),
)
"""What somebody has to mend before trying again makes sense."""

_TIME: tuple[_Final, ...] = (
    (("read-only", "read-write"), "takes no writes: point the URL at the primary (several hosts may be given)"),
    (("too many", "remaining connection slots"), "has no connection left: raise max_connections, or use a pooler"),
    (("no more connections allowed",), "is behind a PgBouncer that has no connection left: raise its max_client_conn"),
    (
        ("server login",),
        "can't be reached by the PgBouncer before it: check that it runs; server_login_retry = 1 finds it sooner",
    ),
    (("starting up", "shutting down", "recovery"), "is starting up or shutting down; it is tried again"),
    (
        ("refused", "server down", "timeout", "did not answer", "no route", "unreachable"),
        "can't be reached: check that it runs, and host and port in the URL",
    ),
    (
        ("could not translate host name", "failed to resolve"),
        "can't be found: the name of its host is not known here, check it in the URL",
    ),
)
"""What may mend itself."""


def no_connection(reason: str, place: str) -> StorageError:
    """What it means that a connection could not be had; `reason` is the library's, which may quote the URL."""
    told = reason.lower()
    for signs, meant in _TIME:
        if any(sign in told for sign in signs):
            return StorageUnavailableError(f"{place} {meant}")
    for signs, meant in _OPERATOR:
        if any(sign in told for sign in signs):
            return StorageError(f"{place} {meant}")
    return StorageUnavailableError(f"{place} gave no connection; it is tried again (the server's log says why)")
