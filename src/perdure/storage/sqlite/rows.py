"""How keys go into statements, and how rows come out of them.

Keys go in as one JSON array. Rows come out as one, with one blob of payloads behind it; each row says how long its
payloads are. Rows that are written go in as they are: see `RowStatement`.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from perdure._work import InstanceRecord
from perdure.storage.records import record_of_row

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
