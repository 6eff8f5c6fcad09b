"""Which sessions a worker has, which it can have, and when it has them no more.

Laws kept here: a session is one worker's, from its first task on until that worker is gone, has not used it for a
while, or needs the room for another; and no worker has more than it wants. All of it is looked at and written in the
transaction that claims, and the write lock is its own.
"""

from perdure._work import Serves
from perdure.storage.base import SESSIONS_SEEN_MAX, USE_SHARE
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction


class Sessions:
    """The sessions in one claim: take tasks of `open` ones, then `use` those of which some were taken."""

    def __init__(self, transaction: Transaction, serves: Serves) -> None:
        self._transaction = transaction
        self._serves = serves
        self.open = ""
        """The sessions of which the worker may take tasks, as rows."""

    def look(self, lanes: list[str]) -> None:
        """Find out which are open: in these lanes tasks may begin, whatever their sessions."""
        transaction, had = self._transaction, self._had(lanes)
        room = self._serves.sessions - sum(is_needed for _, _, is_needed in had)
        found: dict[str, None] = {}
        if room > 0:
            waiting: list[list[object]] = []
            for lane in lanes:
                bindings = (transaction.now, transaction.worker, SESSIONS_SEEN_MAX, lane)
                waiting += transaction.ask(STATEMENTS["tasks_of_nobodys_sessions"], *bindings)
            for *_, session in sorted(waiting):
                if len(found) < room:
                    found[str(session)] = None
        self.open = encode_rows([*(session for session, _, _ in had), *found])

    def use(self, sessions: set[str], lanes: list[str]) -> None:
        """A task of each of these was taken, so the worker has it; what is too many then and not needed is free."""
        transaction, serves = self._transaction, self._serves
        bindings = (encode_rows(sorted(sessions)), transaction.worker, transaction.now, serves.session_idle_us)
        transaction.execute(STATEMENTS["use_sessions"], bindings)
        had = self._had(lanes)
        beyond = len(had) - serves.sessions
        if beyond > 0:
            rest = sorted((used_at, session) for session, used_at, is_needed in had if not is_needed)
            _free(transaction, [session for _, session in rest[:beyond]])

    def _had(self, lanes: list[str]) -> list[tuple[str, int, int]]:
        """The sessions that the worker has, when it used them last, and whether it needs them."""
        transaction = self._transaction
        bindings = (transaction.now, transaction.worker, encode_rows(lanes))
        return list(map(tuple, transaction.ask(STATEMENTS["sessions_of_worker"], *bindings)))


def look_after(transaction: Transaction, worker: int) -> int:
    """Say which sessions of the worker are in use, and free those that nobody used any more; how many they were."""
    if not transaction.execute(STATEMENTS["are_there_sessions"]).get:
        return 0
    transaction.execute(STATEMENTS["keep_sessions"], (transaction.now, worker, USE_SHARE))
    idle = transaction.ask(STATEMENTS["idle_sessions"], transaction.now)
    if idle:
        _free(transaction, idle)
    return len(idle)


def _free(transaction: Transaction, sessions: list[str]) -> None:
    transaction.execute(STATEMENTS["free_sessions"], (encode_rows(sessions),))
