"""Rebuilds an execution that is not in memory: from its history, or new."""

from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure import _work as work
from perdure._core.execution import Execution
from perdure._core.history import check, open_children, read_rows
from perdure._core.matching import PYTHON
from perdure._core.stage import Stage
from perdure._definitions import version_key
from perdure._ports import Entropy
from perdure._registry import LATEST, Registry
from perdure._runtime.live import Live
from perdure._runtime.watchdog import TurnInterrupted, TurnWatch
from perdure.errors import HistoryCorruptError, UnknownDefinitionError, UnknownFormatError
from perdure.storage.base import Storage

if TYPE_CHECKING:
    from perdure._definitions import Orchestration


class Loader:
    """What it takes to make an execution: history, code, and a secret for a new one."""

    def __init__(self, storage: Storage, registry: Registry, entropy: Entropy, stage: Stage, watch: TurnWatch) -> None:
        self._storage = storage
        self._registry = registry
        self._entropy = entropy
        self._stage = stage
        self._watch = watch
        self.replays = 0
        """Executions that were rebuilt from their history."""

    def started(self, live: Live, execution: Execution, start: work.Start, now: int) -> ev.Started | None:
        """The first event of an execution; None if it has one."""
        if live.base != 0 or execution.last_event != 0:
            return None
        definition = execution.definition
        live.version = definition.version
        return ev.Started(
            id=1,
            at=max(now, live.last_at),
            name=live.name,
            version=definition.version,
            execution=live.execution_id,
            input=start.input,
            secret=self._entropy.token().hex(),
            python=PYTHON,
            root=start.root or live.instance_id,
            parent=start.parent,
            carried=start.carried,
            fingerprint=definition.fingerprint,
            values=start.values,
            status=start.status,
            min_reader=ev.MIN_READER,
        )

    def load(self, live: Live, first: Any) -> Execution:
        """The live execution of an instance that is not in memory: rebuilt from its history, or new."""
        events: list[Any] = []
        version, since = live.version, None
        if live.base:
            events = read_rows(self._storage.history(live.incarnation, live.execution_id))
            check(events, live.execution_id)
            if len(events) < live.base:
                raise HistoryCorruptError(
                    f"the stored history is damaged behind event {len(events)}: the instance has come to event "
                    f"{live.base}, and what is there between them is gone",
                    event_id=len(events) + 1,
                )
            started = events[0]
            if started.min_reader > ev.MIN_READER:
                raise UnknownFormatError(
                    f"the execution needs an engine that reads level {started.min_reader}, this one reads "
                    f"{ev.MIN_READER}: let a newer worker take it",
                    event_id=1,
                )
            version = started.version
        elif isinstance(first, work.Start):
            version, since = first.version, first.since
        definition = self._definition(live.name, version)
        if since is not None:
            self._refuse_older(definition, live.name, since)
        execution = Execution(live.instance_id, live.incarnation, definition)  # type: ignore[abstract]  # set by name
        if events:
            live.children = {child.id: child.instance_id for child in open_children(events)} or None
            self._stage.enter(execution)
            self._watch.begin(live.instance_id)
            try:
                execution.replay(events)
            except TurnInterrupted:
                pass
            finally:
                self._watch.end()
                self._stage.leave(execution)
            self._watch.verdict()
            live.base = execution.last_event
            self.replays += 1
        live.execution = execution
        return execution

    def _definition(self, name: str, version: str | None) -> "Orchestration[..., Any]":
        definition = self._registry.orchestration(name, version)
        if definition is None:
            raise self._unknown(name, version)
        return definition

    def _refuse_older(self, definition: "Orchestration[..., Any]", name: str, since: str) -> None:
        """An instance does not go back to older code, which may not read its state, unless a policy says so."""
        pinned = self._registry.version_policy.get(definition.name, LATEST) != LATEST
        if not pinned and version_key(definition.version) < version_key(since):
            raise self._unknown(name, f"{since} or later")

    def _unknown(self, name: str, version: str | None) -> UnknownDefinitionError:
        known = [f"{known} {', '.join(versions)}" for known, versions in self._registry.orchestrations.items()]
        return UnknownDefinitionError("orchestration", name, version, known)
