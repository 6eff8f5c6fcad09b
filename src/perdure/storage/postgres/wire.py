"""One connection: statements go out together and their answers come back together, in one round trip.

Laws kept here: no wait is without end, because a socket that is silent for too long is given up and closed; a statement
that fails takes those behind it with it, so what comes back is a whole step or an error of it.

This speaks to libpq itself, by the driver's own thin layer: pipelines as we want them, and waits that are ours.
"""

import select
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from psycopg import Error, errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format, PGconn, PollingStatus, TransactionStatus, error_message
from psycopg.pq.abc import PGresult

from perdure.storage.base import Meanwhile
from perdure.storage.postgres.arrays import text
from perdure.storage.postgres.failures import FailedError, LostError, last_words

SILENCE_MS_MAX = 15_000
"""How long the server may be silent while an answer is owed, in milliseconds; then the connection is closed."""

STATEMENT_MS_MAX = 12_000
"""How long the server works on one statement before it gives up by itself."""

LOCK_MS_MAX = 8_000
"""How long a statement waits for another's lock."""

LOCK_IN_COMMIT_MS_MAX = 500
"""The same in a commit of the store's own, which then looks for whom it waits; it is tried again several times."""

IDLE_MS_MAX = 10_000
"""How long the server keeps the locks of a transaction whose client says nothing."""

_PLANS_US_MIN, _PLANS_US_MAX = 250_000, 64_000_000
"""How long plans are kept, in microseconds: a plan for ten rows reads a whole table, which then has a million."""

Call: TypeAlias = tuple[str, Sequence[bytes | None]]
"""The name of a statement, and its values in binary form."""

Rows: TypeAlias = list[tuple[Any, ...]]

_BINARY = Format.BINARY
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Wire:
    """A connection that one thread uses at a time.

    Args:
        conninfo: Where to, in libpq's words.
        statements: The statements that can be called, by name.
        commits: Whether commits go over it, whose plans are not left to the server.

    Raises:
        LostError: There is no connection to be had.
    """

    def __init__(self, conninfo: str, statements: Mapping[str, str], *, commits: bool = False) -> None:
        self._attach(_connect(conninfo), statements)
        try:
            self._raw.nonblocking = 1
            self._raw.enter_pipeline_mode()
            self._greet(commits=commits)
        except BaseException:
            self.close()
            raise

    @classmethod
    def over(cls, raw: Any, statements: Mapping[str, str]) -> "Wire":
        """A wire over somebody else's connection, in whose session nothing is left; `release` gives it back.

        Raises:
            LostError: The connection is of no use.
        """
        wire = cls.__new__(cls)
        wire._attach(raw, statements)  # noqa: SLF001 - another way to make one
        try:
            raw.nonblocking = 1
            raw.enter_pipeline_mode()
        except Error as exc:
            raise LostError(str(exc).strip()) from None
        return wire

    def release(self) -> None:
        """Leave somebody else's connection as it was, if it still is."""
        if self.is_open:
            self._raw.exit_pipeline_mode()

    def _attach(self, raw: Any, statements: Mapping[str, str]) -> None:
        self._statements = statements
        self._prepared: set[str] = set()
        self._raw = raw
        self._poller = select.poll()
        self._fd: int = raw.socket
        self._transformer = Transformer()
        # Nothing may be left in a session before it is known to be ours.
        self.pooled = True
        """Whether a pooler stands between us and the server, or somebody else, so that the session is not ours."""
        self.commits = False
        """Whether commits go over it."""
        self._plans_from: int | None = None
        self._plans_for = _PLANS_US_MIN

    def _greet(self, *, commits: bool) -> None:
        """Find out whether the session is ours, and bound what it may take."""
        self.commits = commits
        [[server]] = self.run([("server", ())])
        self.server = server
        # A pooler gives its clients numbers of its own making in place of that of a backend.
        self.pooled = server[0] != self._raw.backend_pid
        if not self.pooled:
            self.run([("session_limits", self.limits()), *([("plan_by_index", ())] if commits else [])])

    @property
    def backend(self) -> int:
        """The number of the server's process behind this connection, where the session is ours."""
        return int(self.server[0])

    @property
    def is_open(self) -> bool:
        """Whether it can be used, as far as we know."""
        return bool(self._raw.status == ConnStatus.OK)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and has not ended."""
        return self._raw.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    def limits(self) -> list[bytes | None]:
        """The values of the statements `limits` and `session_limits`."""
        lock_ms = LOCK_IN_COMMIT_MS_MAX if self.commits else LOCK_MS_MAX
        return [text(f"{ms}ms") for ms in (STATEMENT_MS_MAX, lock_ms, IDLE_MS_MAX)]

    def has_old_plans(self, now_us: int) -> bool:
        """Whether the plans that the session keeps should be made again: once, each time when its age has doubled."""
        if self._plans_from is None:
            self._plans_from = now_us
        if now_us < self._plans_from + self._plans_for:
            return False
        self._plans_from, self._plans_for = now_us, min(2 * self._plans_for, _PLANS_US_MAX)
        return True

    def close(self) -> None:
        """Close it; harmless when repeated."""
        self._raw.finish()

    def fileno(self) -> int:
        """The socket, for whoever waits for what comes unasked."""
        return self._fd

    def run(self, calls: Sequence[Call], meanwhile: Meanwhile | None = None) -> list[Rows]:
        """Send all these statements, and wait for all their answers.

        `meanwhile` is called again and again while there is nothing to read.

        Raises:
            FailedError: One of them failed, by what the server says; those behind it were not run.
            LostError: The connection is gone, or was silent for too long; whatever was sent may have been done.
        """
        return [self.rows(result) for result in self.results(calls, meanwhile=meanwhile) if result is not None]

    def results(
        self, calls: Sequence[Call], *, needed: int | None = None, meanwhile: Meanwhile | None = None
    ) -> list[PGresult | None]:
        """The same, with the answers as they came; of those behind the first `needed` calls failures don't matter.

        `meanwhile` is called again and again while there is nothing to read.
        """
        answers: list[PGresult] = []
        try:
            preparing = self._send(calls)
            self._receive(answers, meanwhile)
        except Error as exc:
            raise self._lost(last_words(answers) or str(exc)) from None
        results: list[PGresult | None] = []
        for result, prepares in zip(answers, preparing, strict=False):
            good = result.status in _GOOD
            if not good and (needed is None or len(results) < needed):
                # Nothing comes before the first that failed but what went well.
                raise FailedError(errors.error_from_result(result), len(results))
            if good and prepares is not None:
                self._prepared.add(prepares)
            if prepares is None:
                results.append(result if good else None)
        return results

    def run_text(self, sql: str) -> None:
        """Run the statements of a script, one after the other, in the present transaction.

        Raises:
            FailedError: One of them failed.
            LostError: The connection is gone.
        """
        answers: list[PGresult] = []
        try:
            self._raw.exit_pipeline_mode()
            self._raw.send_query(sql.encode())
            self._receive(answers, until_sync=False)
            self._raw.enter_pipeline_mode()
        except Error as exc:
            raise self._lost(last_words(answers) or str(exc)) from None
        for result in answers:
            if result.status not in _GOOD:
                raise FailedError(errors.error_from_result(result), 0)

    def notified(self) -> list[tuple[str, int]]:
        """The channels on which somebody has notified us and by which backend, as far as we have heard; does not wait.

        Raises:
            LostError: The connection is gone.
        """
        try:
            self._raw.consume_input()
        except Error as exc:
            raise self._lost(str(exc)) from None
        heard: list[tuple[str, int]] = []
        while (notice := self._raw.notifies()) is not None:
            heard.append((notice.relname.decode(), notice.be_pid))
        return heard

    def _send(self, calls: Sequence[Call]) -> list[str | None]:
        """Queue the statements; returns for each answer to come the name that it prepares, if it does."""
        raw = self._raw
        preparing: list[str | None] = []
        for name, values in calls:
            formats = [_BINARY] * len(values)
            if self.pooled:
                raw.send_query_params(
                    self._statements[name].encode(), values, param_formats=formats, result_format=_BINARY
                )
            else:
                key = name.encode()
                if name not in self._prepared and name not in preparing:
                    raw.send_prepare(key, self._statements[name].encode())
                    preparing.append(name)
                raw.send_query_prepared(key, values, param_formats=formats, result_format=_BINARY)
            preparing.append(None)
        raw.pipeline_sync()
        return preparing

    def _receive(self, answers: list[PGresult], meanwhile: Meanwhile | None = None, *, until_sync: bool = True) -> None:
        """Add all answers up to the end of the step."""
        raw = self._raw
        unsent = raw.flush()
        ended = False
        while not ended:
            while not raw.is_busy():
                result = raw.get_result()
                if result is None:
                    if until_sync:
                        continue
                    return
                if result.status == ExecStatus.PIPELINE_SYNC:
                    ended = True
                    break
                answers.append(result)
            if not ended:
                # As long as there is something to send, the server waits for us.
                self._wait(None if unsent else meanwhile, write=bool(unsent))
                raw.consume_input()
                if unsent:
                    unsent = raw.flush()

    def _wait(self, meanwhile: Meanwhile | None, *, write: bool) -> None:
        """Wait for the socket, but not for ever."""
        self._poller.register(self._fd, select.POLLIN | (select.POLLOUT if write else 0))
        left_ms = SILENCE_MS_MAX
        while meanwhile is not None and left_ms > 0 and (for_ms := meanwhile()) is not None:
            if self._poller.poll(for_ms):
                return
            left_ms -= for_ms
        if not self._poller.poll(max(0, left_ms)):
            raise self._lost(f"the server has said nothing for {SILENCE_MS_MAX / 1000:g} seconds")

    def _lost(self, reason: str) -> LostError:
        self.close()
        # Behind the first line the library guesses.
        return LostError(next(iter(reason.strip().splitlines()), "the connection was closed"))

    def rows(self, result: PGresult) -> Rows:
        """The rows of an answer."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)


def _connect(conninfo: str) -> Any:
    """A connection that is ready, within the time that a silent server has.

    Raises:
        LostError: It could not be had; with the library's reason.
    """
    raw = PGconn.connect_start(conninfo.encode())
    poller = select.poll()
    while True:
        status = raw.connect_poll()
        if status == PollingStatus.OK:
            return raw
        if status == PollingStatus.FAILED or raw.status == ConnStatus.BAD:
            reason = error_message(raw)
            raw.finish()
            raise LostError(reason.strip(), connecting=True)
        fd = raw.socket
        poller.register(fd, select.POLLIN if status == PollingStatus.READING else select.POLLOUT)
        if not poller.poll(SILENCE_MS_MAX):
            raw.finish()
            raise LostError(f"the server did not answer within {SILENCE_MS_MAX / 1000:g} seconds", connecting=True)
        poller.unregister(fd)
