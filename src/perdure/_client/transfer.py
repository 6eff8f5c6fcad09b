"""The part of a client by which instances leave a store and come into another: by file, or from store to store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._client.opened import Opened

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from typing import BinaryIO, Literal, Unpack

    from perdure._client.client import Client
    from perdure._client.filters import InstanceFilter
    from perdure._client.moving import Transfer
    from perdure._types import Duration


class Transfers(Opened):
    """What `Client` can do about instances that go from one store to another; see there."""

    async def export_instances(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        /,
        *,
        instance_ids: Iterable[str] | None = None,
        **filters: Unpack[InstanceFilter],
    ) -> Transfer:
        """Write root instances with all that belongs to them and everything below them to a file, for another store.

        Each tree is written as it was at one moment, between two turns; running instances go on meanwhile, and an
        activity that runs just then is in the file as one that has not ended. Nothing is changed here: to have it run
        in one place only, use `move_instances`.

        Args:
            file: A path at which there is no file yet, or a file that is open for writing bytes.
            instance_ids: These; None for all that match.
            **filters: As for `list_instances`; `roots_only` is implied. Without any all there are.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceMovedError: One of the ids is that of an instance which has moved; others that have are left out.
            UsageError: One of the ids is that of a child, which goes with its root; or a filter means nothing.
            FileExistsError: There is a file of this name.

        Example:
            await client.export_instances("orders.jsonl", name="shop::orchestration::order", status="running")
        """
        from perdure._client import transferring  # noqa: PLC0415 - seldom asked for, and much to load

        return await transferring.export_trees(self._opened(), file, instance_ids, filters)

    async def import_instances(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        /,
        *,
        run: bool = False,
        on_conflict: Literal["fail", "skip", "replace"] = "fail",
    ) -> Transfer:
        """Take in the instances of a file that `export_instances` has written, in this or another store.

        The whole file is read and checked before anything of it is written: histories, checksums, seals, and that what
        waits was asked for. Each tree then lands whole. Instances keep their ids, times and idempotency keys.

        Nothing of it runs by itself: what is open is suspended, with its activities, until `resume`. With `run` it goes
        on at once, as it was: suspended and held instances stay so.

        Args:
            file: A path, or a file that is open for reading bytes.
            run: Let the instances go on. Do that only with a file that you trust, and where no other store has them.
            on_conflict: When an id is taken: "fail" (default) writes nothing at all, "skip" leaves out the tree, and
                "replace" takes the place of an instance that has ended, or that was imported before and not resumed.

        Raises:
            ExportFileError: It is no such file, or was damaged or changed; nothing was written.
            InstanceExistsError: An id is taken. With "replace" trees that came before it may have been written.
            StorageUnavailableError: Not all of it was written; the same call with "skip" or "replace" writes the rest.
        """
        from perdure._client import transferring  # noqa: PLC0415 - as above

        return await transferring.import_trees(self._opened(), file, on_conflict, run=run)

    async def move_instances(
        self,
        target: Client,
        /,
        *,
        instance_ids: Iterable[str] | None = None,
        run: bool = True,
        grace: Duration = 30.0,
        **filters: Unpack[InstanceFilter],
    ) -> Transfer:
        """Move root instances with everything below them to another store, so that they run in one place at any time.

        Each tree is suspended here, copied there as suspended, marked here as moved, and only then goes on there. What
        is sent to it while it is copied is copied too; what is sent to it here afterwards is refused with
        `InstanceClosedError`. Ids, histories and idempotency keys stay the same. What was left here stays to be looked
        at until it is deleted.

        If the call breaks off, call it again with the same arguments: it goes on where it was, and nothing has run
        twice meanwhile. Until it is done, send nothing to the target, and resume nothing there: a copy may be written
        anew.

        Args:
            target: A client of the other store, of any kind.
            instance_ids: These; None for all that match.
            run: Let them go on there; otherwise they wait for `resume`.
            grace: How long activities that run just now may take to end, in seconds or as a timedelta. After that
                they are given up here, and run again there with the same idempotency key.
            **filters: As for `list_instances`; `roots_only` is implied. Without any all there are.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceExistsError: An id is taken there by another instance, or by a copy that somebody has resumed there
                before it had moved; its tree stays, all others have moved.
            ClientError: Something was sent to one of them whenever it was copied; or one is itself a copy, left by a
                move from a third store that was not completed.
            UsageError: One of the ids is that of a child; a filter means nothing; or both stores are one.
            StorageUnavailableError: One of the stores can't be reached: call it again when it can.

        Example:
            async with Client("shop.db") as here, Client("postgresql://db/shop") as there:
                moved = await here.move_instances(there, status=["pending", "running"])
        """
        from perdure._client import transferring  # noqa: PLC0415 - as above

        there = target._opened()  # noqa: SLF001 - a client, too
        return await transferring.move_trees(self._opened(), there, instance_ids, filters, run=run, grace=grace)
