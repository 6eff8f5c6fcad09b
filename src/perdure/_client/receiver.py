"""Who is meant by what a client sends or asks, and how that gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure import _work as work
from perdure._client.opened import check_reason
from perdure._client.transactions import joining
from perdure._context import ExternalEvent, event_name
from perdure._types import Status, check_name
from perdure.codec import codec_for, encode_any
from perdure.errors import InstanceClosedError, InstanceComingError, InstanceNotFoundError, InstanceReplacedError

if TYPE_CHECKING:
    from perdure._client.requests import Gateway
    from perdure._client.transactions import Submit


class Receiver:
    """Whoever has an id; with an incarnation that one alone, and nobody who comes after it."""

    __slots__ = ("_gateway", "_instance_id", "incarnation")

    def __init__(self, gateway: Gateway, instance_id: str, incarnation: int | None = None) -> None:
        self._gateway = gateway
        self._instance_id = instance_id
        self.incarnation = incarnation

    async def record(self) -> work.InstanceRecord:
        """Its row.

        Raises:
            InstanceNotFoundError: There is no such instance, or another one has its id (`InstanceReplacedError`).
        """
        record = await self._gateway.read(self._gateway.inspector.get, self._instance_id)
        if record is None:
            raise InstanceNotFoundError(self._instance_id)
        if self.incarnation not in (None, record.incarnation):
            raise InstanceReplacedError(self._instance_id)
        return record

    async def raise_event(self, event: Any, data: Any, dedup_key: str | None, connection: Any) -> None:
        """Send an external event; see `Client.raise_event`."""
        if isinstance(event, ExternalEvent):
            name = event.name
            body = codec_for(event.type_).encode(data, what=f"external event {name!r}")
        else:
            name = event_name(event)
            body = encode_any(data, what=f"external event {name!r}")
        key = None if dedup_key is None else check_name("dedup key", dedup_key)
        submit = None if connection is None else joining(self._gateway, connection)
        await self._deliver(work.Raised(name=name, data=Raw(body)), dedup_key=key, submit=submit)

    async def cancel(self, reason: str) -> None:
        """Ask it to cancel; see `Client.cancel`."""
        message = work.Cancel(reason=check_reason(reason))
        # What has not begun gets no other messages before that; a control message does not wait.
        waits = (await self.record()).status in (Status.PENDING, Status.SUSPENDED)
        await self._deliver(message, control=waits)

    async def terminate(self, reason: str) -> None:
        """End it at once; see `Client.terminate`."""
        await self._deliver(work.Terminate(reason=check_reason(reason)), control=True)

    async def refuse(self, refused: work.Refused) -> None:
        """Say why a message was refused; but not, if there was nobody for it.

        Raises:
            InstanceClosedError: It has ended.
            InstanceComingError: It is a copy.
        """
        if refused.reason is work.Refusal.CLOSED:
            raise InstanceClosedError(self._instance_id, (await self.record()).status)
        if refused.reason is work.Refusal.COMING:
            raise InstanceComingError(self._instance_id)

    async def _deliver(
        self,
        message: work.AnyMessage,
        *,
        control: bool = False,
        dedup_key: str | None = None,
        submit: Submit | None = None,
    ) -> None:
        item = work.Deliver(
            to_id=self._instance_id,
            body=work.encode_message(message),
            control=control,
            dedup_key=dedup_key,
            incarnation=self.incarnation,
        )
        outcome = await (submit or self._gateway.submit)(item)
        if isinstance(outcome, work.Applied):
            return
        await self.refuse(outcome)
        if self.incarnation is not None:
            # Whether another one has taken its place.
            await self.record()
        raise InstanceNotFoundError(self._instance_id)
