"""The part of a client that looks after a store: lists, counts, trees, queues, and what is to be deleted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from perdure import _work as work
from perdure._client.filters import query_of
from perdure._client.handle import InstanceStatus, Page, status_of
from perdure._client.opened import PAGE_MAX, Opened, check_limit, pages
from perdure._types import Status, check_count, check_name, instant_us
from perdure.codec import codec_for
from perdure.errors import InstanceNotFoundError, InstanceOpenError, LimitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Unpack

    from perdure._client.figures import (
        Deletion,
        ExecutionStatus,
        InstanceCount,
        InstanceSizes,
        InstanceTree,
        LimitStatus,
        LimitUser,
        OpenActivity,
        QueueDepths,
    )
    from perdure._client.filters import InstanceFilter
    from perdure._client.workers import WorkerStatus

FAMILY_MAX = 100_000
ITEMS_AT_ONCE_MAX = 100
"""How many deletes or prunes of a bulk request are under way."""


class Management(Opened):
    """What `Client` can do with a store as a whole; see there."""

    # -- reading ---------------------------------------------------------------------------------------------------

    async def list_instances(
        self, *, limit: int = 100, after: str | None = None, **filters: Unpack[InstanceFilter]
    ) -> Page[InstanceStatus[Any]]:
        """One page of instances, the newest first; every given filter must match.

        A page looks at 10,000 instances at most, so that none takes long: where few of many match, it may have fewer
        than `limit`, even none, and a `next`. Go on while `next` is not None.

        Args:
            limit: How many, 1 to 1,000.
            after: The `next` of the page before.
            **filters: `status`, `name`, `version`, `attributes`, `created_after`, `created_before`, `updated_after`,
                `updated_before`, `parent`, `root`, `roots_only`: see `InstanceFilter`.

        Raises:
            UsageError: `limit` is not within 1 to 1,000, `after` is no page key, or a filter means nothing.
        """
        check_limit(limit, ", and `after=page.next` for the next page")
        query = query_of(filters, limit=limit, after=after)
        gateway = self._opened()
        try:
            records, key = await gateway.read(gateway.inspector.find, query)
        except ValueError as error:
            raise UsageError(f"after is {after!r}, which is no key of a page: pass `page.next` unchanged") from error
        codec = codec_for(Any)
        return Page([status_of(record, codec) for record in records], key)

    async def count_instances(self, **filters: Unpack[InstanceFilter]) -> list[InstanceCount]:
        """How many instances there are, by orchestration and status; every given filter must match.

        Reads the rows of all instances: seconds, for millions of them.

        Raises:
            UsageError: A filter means nothing.

        Example:
            failed = sum(each.count for each in await client.count_instances(status="failed"))
        """
        from perdure._client.figures import counts_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        return counts_of(await gateway.read(gateway.inspector.count, query_of(filters)))

    async def get_tree(self, instance_id: str, /) -> InstanceTree:
        """An instance and everything below it: its children, their children, and so on.

        Raises:
            InstanceNotFoundError: There is no such instance.
            LimitError: There are more than 100,000: list them by `parent` or `root`, page by page.
        """
        from perdure._client.figures import tree_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        check_name("instance id", instance_id)
        records = await gateway.read(gateway.inspector.family, instance_id, FAMILY_MAX + 1)
        if not records:
            raise InstanceNotFoundError(instance_id)
        if len(records) > FAMILY_MAX:
            raise LimitError(
                f"the tree of {instance_id!r} has more than {FAMILY_MAX:,} instances: list them by parent or root"
            )
        return tree_of(records)

    async def list_executions(self, instance_id: str, /) -> list[ExecutionStatus]:
        """The executions of an instance whose histories are in the store, in order; the last is the current one.

        Raises:
            InstanceNotFoundError: There is no such instance.
        """
        from perdure._client.figures import executions_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        record = await self._record(instance_id)
        return executions_of(record, await gateway.read(gateway.inspector.executions, record.incarnation))

    async def get_sizes(self, instance_id: str, /) -> InstanceSizes:
        """How large the history and the KV store of an instance are, whether it runs or has ended.

        Reads all values of its KV store.

        Raises:
            InstanceNotFoundError: There is no such instance.
        """
        from perdure._client.figures import sizes_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        record = await self._record(instance_id)
        stored = await gateway.read(gateway.inspector.executions, record.incarnation)
        values = await gateway.read(gateway.inspector.entries, record.incarnation, work.VALUES)
        return sizes_of(record, stored, values)

    async def list_open_activities(self, instance_id: str, /, *, limit: int = 100) -> list[OpenActivity]:
        """The activities of an instance that have not ended, in order of their events.

        Each with its attempt, why the one before it has failed, and when the next is due, or which worker runs it.

        Args:
            instance_id: The instance; one that has ended has none.
            limit: How many, 1 to 1,000.

        Raises:
            InstanceNotFoundError: There is no such instance.
            UsageError: `limit` is not within 1 to 1,000.

        Example:
            for each in await client.list_open_activities("order-1"):
                print(each.name, each.attempt, each.last_error, each.due_at)
        """
        from perdure._client.figures import open_of  # noqa: PLC0415 - loaded when it is asked for

        check_limit(limit)
        gateway = self._opened()
        record = await self._record(instance_id)
        tasks = await gateway.read(gateway.inspector.open_tasks, record.incarnation, limit)
        workers = await gateway.read(gateway.inspector.workers) if tasks else []
        return open_of(instance_id, tasks, workers)

    async def get_queues(self) -> QueueDepths:
        """What waits in the store: instances, activities by name and tag, timers, and what is held, with ages.

        Reads all that waits: for a page that is looked at, or a metric every few seconds.
        """
        from perdure._client.figures import depths_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        workers = await gateway.read(gateway.inspector.workers)
        return depths_of(await gateway.read(gateway.inspector.depths), workers)

    async def list_limits(self) -> list[LimitStatus]:
        """The limits by key that something has a place of, or waits for, in order of the keys."""
        from perdure._client.figures import limits_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        return limits_of(await gateway.read(gateway.inspector.limits))

    async def list_limit_users(self, key: str, /, *, limit: int = 100) -> list[LimitUser]:
        """Who has a place of a limit, then who waits for one, in the order in which they get it.

        Args:
            key: The limit's key.
            limit: How many, 1 to 1,000.

        Raises:
            UsageError: The key is no name, or `limit` is not within 1 to 1,000.
        """
        from perdure._client.figures import limit_users_of  # noqa: PLC0415 - loaded when it is asked for

        check_limit(limit)
        gateway = self._opened()
        name = check_name("limit key", key)
        return limit_users_of(await gateway.read(gateway.inspector.limit_users, name, limit))

    async def list_workers(self) -> list[WorkerStatus]:
        """The workers of the store, in the order in which they came.

        One whose `lease_until` is over is dead, or silent for too long, and nobody has noticed yet.
        """
        from perdure._client.workers import worker_status_of  # noqa: PLC0415 - loaded when it is asked for

        gateway = self._opened()
        return [worker_status_of(record) for record in await gateway.read(gateway.inspector.workers)]

    # -- deleting --------------------------------------------------------------------------------------------------

    async def delete(self, instance_id: str, /, *, force: bool = False) -> int:
        """Delete a closed instance with all its descendants and histories; returns how many instances went.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceOpenError: It, or a descendant, is open, and `force` is not set.
            UsageError: It is a child: delete its root.
        """
        gateway = self._opened()
        check_name("instance id", instance_id)
        outcome = await gateway.submit(work.Delete(id=instance_id, force=bool(force)))
        if isinstance(outcome, work.Applied):
            return outcome.count
        if outcome.reason is work.Refusal.NOT_FOUND:
            raise InstanceNotFoundError(instance_id)
        if outcome.reason is work.Refusal.NOT_ROOT:
            raise UsageError(f"instance {instance_id!r} is a child: delete the root instance that it belongs to")
        record = await self._record(instance_id)
        raise InstanceOpenError(instance_id, "a descendant is open" if record.status.is_closed else record.status)

    async def delete_instances(self, *, force: bool = False, **filters: Unpack[InstanceFilter]) -> Deletion:
        """Delete the root instances that match, each with all its descendants and histories.

        Each tree goes whole, in a transaction of its own; what was started after the call began may stay.

        Args:
            force: Delete open ones too. Otherwise only trees of which nothing is open go.
            **filters: As for `list_instances`, at least one. `roots_only` is implied: alone, it means all.

        Raises:
            UsageError: No filter was given, or one means nothing.

        Example:
            await client.delete_instances(status="completed", updated_before=datetime.now(UTC) - timedelta(days=30))
        """
        from perdure._client.figures import Deletion  # noqa: PLC0415 - loaded when it is asked for

        if not filters:
            raise UsageError("without a filter this would delete everything: pass roots_only=True if you mean that")
        query = msgspec.structs.replace(query_of(filters, limit=PAGE_MAX), roots_only=True)
        if not force:
            closed = tuple(status for status in query.statuses or Status if status.is_closed)
            query = msgspec.structs.replace(query, statuses=closed)
        roots = instances = skipped = 0
        async for records in pages(self._opened(), query if force or query.statuses else None):
            items = [work.Delete(id=each.id, force=bool(force), incarnation=each.incarnation) for each in records]
            for outcome in await self._submit_all(items):
                if isinstance(outcome, work.Applied):
                    roots += 1
                    instances += outcome.count
                else:
                    skipped += 1
        return Deletion(roots=roots, instances=instances, skipped=skipped)

    async def prune(self, instance_id: str, /, *, keep: int | None = None, before: datetime | None = None) -> int:
        """Delete the histories of past executions of an instance, open or closed; returns how many went.

        The current execution is never touched, so what runs goes on.

        Args:
            instance_id: The instance.
            keep: How many executions stay, the current one among them.
            before: Only those whose last turn was before this instant (aware). With both, both must hold.

        Raises:
            InstanceNotFoundError: There is no such instance.
            UsageError: Neither `keep` nor `before` was given, or one means nothing.
        """
        kept, until = _pruned(keep, before)
        outcome = await self._opened().submit(
            work.Prune(id=check_name("instance id", instance_id), keep=kept, before=until)
        )
        if isinstance(outcome, work.Refused):
            raise InstanceNotFoundError(instance_id)
        return outcome.count

    async def prune_instances(
        self, *, keep: int | None = None, before: datetime | None = None, **filters: Unpack[InstanceFilter]
    ) -> int:
        """The same for all instances that match, without a filter for all there are; returns how many executions went.

        Raises:
            UsageError: Neither `keep` nor `before` was given, or a value or filter means nothing.
        """
        kept, until = _pruned(keep, before)
        count = 0
        async for records in pages(self._opened(), query_of(filters, limit=PAGE_MAX)):
            items = [
                work.Prune(id=each.id, keep=kept, before=until, incarnation=each.incarnation)
                for each in records
                if each.execution > 1
            ]
            outcomes = await self._submit_all(items)
            count += sum(outcome.count for outcome in outcomes if isinstance(outcome, work.Applied))
        return count

    async def _submit_all(self, items: Sequence[work.Item]) -> list[work.Outcome]:
        """Have items committed, a bounded number at a time."""
        gateway = self._opened()
        outcomes: list[work.Outcome] = []
        for begin in range(0, len(items), ITEMS_AT_ONCE_MAX):
            outcomes += await asyncio.gather(*map(gateway.submit, items[begin : begin + ITEMS_AT_ONCE_MAX]))
        return outcomes


def _pruned(keep: int | None, before: datetime | None) -> tuple[int, int | None]:
    """How many executions to keep, and the instant before which the others were over."""
    if keep is None and before is None:
        raise UsageError("say what to prune: keep= for the newest executions, before= for an instant, or both")
    if keep is not None:
        check_count("keep", keep, hint="; the current execution always stays")
    return keep or 1, None if before is None else instant_us(before, "before")
