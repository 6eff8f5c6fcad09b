"""Reads what is stored of an instance beside its history; what was changed there is told in words."""

from typing import Any

import msgspec

from perdure._work import unsealed
from perdure.codec import codec_for
from perdure.errors import ErrorInfo, HistoryCorruptError

_error_decoder = msgspec.json.Decoder(ErrorInfo)


def read_error(stored: bytes, instance_id: str) -> ErrorInfo:
    """The error of an instance."""
    try:
        return _error_decoder.decode(unsealed(stored, "the stored error of instance %r", instance_id))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HistoryCorruptError(f"the stored error of instance {instance_id!r} can't be read: {error}") from error


def read_output(stored: bytes | None, instance_id: str, codec: Any) -> Any:
    """The result of an instance."""
    if stored is None:
        return None
    return codec.decode(
        unsealed(stored, "the stored result of instance %r", instance_id), what=f"result of {instance_id}"
    )


def read_custom_status(stored: bytes, instance_id: str) -> Any:
    """The custom status of an instance."""
    return codec_for(Any).decode(
        unsealed(stored, "the stored custom status of instance %r", instance_id), what="custom status"
    )
