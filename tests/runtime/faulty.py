"""A storage that fails as planned: before it has applied a commit, or after, when only the answer is lost."""

from typing import Any

from perdure import OutcomeUnknownError, Registry, Runtime, StorageUnavailableError
from perdure.testing import Environment

UNAVAILABLE = "unavailable"
LOST_BEFORE = "outcome unknown, not applied"
LOST_AFTER = "outcome unknown, applied"
BROKEN = "an error that no storage should raise"
FAULTS = (UNAVAILABLE, LOST_BEFORE, LOST_AFTER)

Plan = dict[tuple[str, int], str]
"""The fault of the n-th call, from 1, of a method."""


class FaultyStorage:
    """Passes everything on, but for the calls that the plan names."""

    def __init__(self, inner: Any, plan: Plan) -> None:
        self.inner = inner
        self.plan = plan
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in {"commit", "history", "get", "get_many", "reap", "applied", "register", "unregister", "changed"}:
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls[name] = self.calls.get(name, 0) + 1
            fault = self.plan.get((name, self.calls[name]))
            if fault == UNAVAILABLE:
                raise StorageUnavailableError("planned")
            if fault == BROKEN:
                raise ZeroDivisionError("planned")
            if fault == LOST_BEFORE:
                raise OutcomeUnknownError("planned, and nothing was applied")
            answer = method(*arguments, **options)
            if fault == LOST_AFTER:
                raise OutcomeUnknownError("planned, and it was applied")
            return answer

        return call


class FaultyEnvironment(Environment):
    """An environment whose storage fails as planned."""

    def __init__(self, registry: Registry, plan: Plan) -> None:
        super().__init__(registry)
        self.plan = plan

    def _make_storage(self) -> Any:
        self.faulty = FaultyStorage(super()._make_storage(), self.plan)
        return self.faulty


class FaultyRuntime(Runtime):
    """A runtime whose storage fails as planned."""

    plan: Plan

    def _make_storage(self) -> Any:
        self.faulty = FaultyStorage(super()._make_storage(), self.plan)
        return self.faulty
