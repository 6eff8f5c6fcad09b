"""A schedule that is made while somebody deletes the one that has its id is there when that is acknowledged."""

from typing import Any

import pytest

from perdure import Cron, Registry
from perdure import _work as work
from perdure.testing import Environment
from tests.schedules.slots import told

NIGHTLY, YEARLY = Cron("30 2 * * *"), Cron("0 0 1 1 *")


class DeletingStorage:
    """A store in which somebody deletes "plan" before the next look at it, or behind it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.deletes: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get(self, instance_id: str) -> Any:
        when, self.deletes = self.deletes, None
        if when == "before":
            self._delete()
        record = self.inner.get(instance_id)
        if when == "behind":
            self._delete()
        return record

    def _delete(self) -> None:
        self.inner.commit(work.Batch(token=b"0" * 16, items=(work.Delete(id="plan", force=True),)))


class DeletingEnvironment(Environment):
    def _make_storage(self) -> Any:
        self.deleting = DeletingStorage(super()._make_storage())
        return self.deleting


@pytest.mark.parametrize("when", ["before", "behind"])
async def test_it_is_made_anew(when):
    async with DeletingEnvironment(Registry(told)) as env:
        await env.client.schedules.create("plan", told, "a", when=NIGHTLY)
        await env.advance(1)
        env.deleting.deletes = when
        plan = await env.client.schedules.create("plan", told, "b", when=YEARLY, on_conflict="update")
        assert (await plan.status()).when == YEARLY
