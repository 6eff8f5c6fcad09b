"""How keys go into statements, and how rows come out of them.

Keys go in as one JSON array. Rows come out as one, with one blob of payloads behind it; each row says how long its
payloads are. Rows that are written go in as they are: see `RowStatement`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from perdure._events import Parent
from perdure._types import Status
from perdure._work import InstanceRecord

_encoder = msgspec.json.Encoder()
_decode_any = msgspec.json.Decoder().decode


def encode_rows(rows: Any) -> str:
    """The rows as the JSON text that a statement unfolds."""
    return str(_encoder.encode(rows), "utf-8")


def decode_answer(text: Any) -> Any:
    """What a statement answered in JSON."""
    return _decode_any(text)


def storable(text: str) -> str:
    """The text of a reason, which may quote anything, without what a column of text can't hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def record_of_row(row: Sequence[Any]) -> InstanceRecord:
    """The record of a row with the columns that `get_instance` selects."""
    (
        id_, incarnation, name, version, status, execution, created_at, updated_at, last_event, owner,
        cancel_requested, custom_status_version, held_because, root,
        parent_id, parent_incarnation, parent_execution, parent_event, deliveries,
        attributes, custom_status, output, error,
    ) = row  # fmt: skip
    parent = None
    if parent_id is not None:
        parent = Parent(
            instance_id=parent_id, incarnation=parent_incarnation, execution=parent_execution, event=parent_event
        )
    return InstanceRecord(
        id=id_,
        incarnation=incarnation,
        name=name,
        version=version,
        status=Status(status),
        execution=execution,
        created_at=created_at,
        updated_at=updated_at,
        output=output,
        error=error,
        custom_status=custom_status,
        custom_status_version=custom_status_version,
        held_because=held_because,
        cancel_requested=bool(cancel_requested),
        owner=owner,
        parent=parent,
        root=root,
        attributes=attributes,
        last_event=last_event,
        deliveries=deliveries,
    )


_BLOBS = 4
"""How many columns at the end of a record's row are blobs."""


def records_of_json(text: Any) -> list[InstanceRecord]:
    """The records of an answer whose blobs are in hexadecimal."""
    return [record_of_row([*row[:-_BLOBS], *map(_unhex, row[-_BLOBS:])]) for row in _decode_any(text)]


def _unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def cut(blob: bytes | None, sizes: Iterable[int | None]) -> list[bytes | None]:
    """The payloads of a blob, one after the other; None where there is no size."""
    pieces: list[bytes | None] = []
    whole, start = blob or b"", 0
    for size in sizes:
        if size is None:
            pieces.append(None)
        else:
            pieces.append(whole[start : start + size])
            start += size
    return pieces
