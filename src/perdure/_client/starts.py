"""What a start puts into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from msgspec import Raw

from perdure import _work as work
from perdure._client.attributes import checked_version, encode_attributes
from perdure._definitions import Orchestration
from perdure._types import OnConflict, check_instance_id, check_name, instant_us, slot_of
from perdure.codec import encode_any
from perdure.errors import (
    InstanceComingError,
    InstanceExistsError,
    OutcomeUnknownError,
    StorageBusyError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from perdure._client.attributes import Attribute
    from perdure._client.requests import Gateway

CONFLICTS = get_args(OnConflict)
_PAIR = ("instance_id", "input")


def new_instance(
    gateway: Gateway,
    orchestration: Any,
    inputs: tuple[Any, ...],
    *,
    instance_id: str | None = None,
    version: str | None = None,
    on_conflict: str = "fail",
    attributes: Mapping[str, Attribute] | None = None,
    start_at: datetime | None = None,
) -> work.NewInstance:
    """The row and the first message of an instance, checked as far as a client can.

    Raises:
        PayloadError: An input does not fit its annotation.
        UsageError: An option is wrong.
    """
    if on_conflict not in CONFLICTS:
        raise UsageError(f"on_conflict is {on_conflict!r}: use one of {', '.join(CONFLICTS)}")
    if isinstance(orchestration, Orchestration):
        name = orchestration.name
        data = orchestration.inputs_codec.encode(inputs)
    elif isinstance(orchestration, str):
        name = check_name("orchestration", orchestration)
        data = encode_any(inputs, what=f"inputs of orchestration {name}")
    else:
        raise UsageError(
            f"start_orchestration takes a definition made with @orchestration, or its name, not {orchestration!r}"
        )
    new_id = check_instance_id(instance_id) if instance_id is not None else gateway.draw_id()
    start = work.Start(input=Raw(data), version=checked_version(version), root=new_id)
    return work.NewInstance(
        id=new_id,
        incarnation=gateway.draw_incarnation(new_id),
        name=name,
        version=version,
        start=work.encode_message(start),
        start_at=None if start_at is None else instant_us(start_at, "start_at"),
        root=new_id,
        attributes=None if not attributes else encode_attributes(attributes),
        slot=slot_of(new_id),
    )


def pairs_of(inputs: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """The pairs that `start_many` was given.

    Raises:
        UsageError: Something among them is no pair.
    """
    for index, pair in enumerate(inputs):
        if not isinstance(pair, tuple | list) or len(pair) != len(_PAIR):
            raise UsageError(
                f"start_many takes pairs of {' and '.join(_PAIR)}, and number {index} is {pair!r}: several inputs "
                "go into one dataclass, or to start_orchestration"
            )
        yield pair[0], pair[1]


def refused_start(instance_id: str, refused: work.Refused) -> Exception:
    """The error of a start that was refused."""
    match refused.reason:
        case work.Refusal.BUSY:
            return StorageBusyError(
                f"a transaction that is still open is about to start {instance_id!r}: nothing was done, try again when "
                "it has ended"
            )
        case work.Refusal.NOT_ROOT:
            return UsageError(
                f"instance {instance_id!r} is the child of an open orchestration, which would wait for it for ever: "
                "terminate it, or restart the parent"
            )
        case work.Refusal.COMING:
            return InstanceComingError(instance_id)
        case work.Refusal.GONE:
            return OutcomeUnknownError(
                f"the store broke off while {instance_id!r} was started, and an instance that is as young or younger "
                "was deleted or replaced: perhaps it was this one, so it was not started again. Look whether it has "
                "run before you start it"
            )
        case _:
            return InstanceExistsError(instance_id)


def refuse_another(orchestration: Any, existing: work.InstanceRecord) -> None:
    """Refuse to take an instance of another orchestration for the one that was to be started.

    Raises:
        InstanceExistsError: It is one; the error has its orchestration's name.
    """
    is_definition = isinstance(orchestration, Orchestration)
    names = (orchestration.name, *orchestration.aliases) if is_definition else (orchestration,)
    if existing.name not in names:
        raise InstanceExistsError(existing.id, existing.name)
