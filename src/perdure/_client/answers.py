"""What a client asks a running orchestration, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perdure._types import check_name
from perdure._work import decode_answer
from perdure.codec import codec_for, encode_any
from perdure.errors import (
    ErrorInfo,
    HistoryCorruptError,
    RequestError,
    RequestRejectedError,
    UnknownRequestError,
    UsageError,
)

if TYPE_CHECKING:
    from perdure._context import Query, Update


class Asked(NamedTuple):
    """The name of a query or update, what is sent with it, and what reads its answer."""

    name: str
    data: bytes
    codec: Any


def asked_with(kind: type[Query[Any, Any] | Update[Any, Any]], question: Any, value: Any) -> Asked:
    """What is asked.

    Raises:
        UsageError: It is neither such a definition nor a name.
        PayloadError: The value does not fit.
    """
    word = kind.__name__.lower()
    if isinstance(question, kind):
        takes, gives = question.types
        data = b"null" if question.asks_nothing else codec_for(takes).encode(value, what=f"value of {question.name!r}")
        return Asked(question.name, data, codec_for(gives))
    if not isinstance(question, str):
        raise UsageError(
            f"{word} must be {'an' if kind.__name__ == 'Update' else 'a'} {kind.__name__} or its name, not {question!r}"
        )
    name = check_name(word, question)
    return Asked(name, encode_any(value, what=f"value of {name!r}"), codec_for(Any))


def read_answer(body: bytes, instance_id: str, asked: Asked) -> Any:
    """The value of a stored answer, or its error raised."""
    try:
        answer = decode_answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HistoryCorruptError(f"the stored answer of instance {instance_id!r} can't be read: {error}") from error
    if answer.refused == "unknown":
        raise UnknownRequestError(instance_id, "no handler" if answer.error is None else answer.error.message)
    if answer.refused or answer.error is not None:
        info = answer.error or ErrorInfo(type="perdure.rejected", message="")
        raise (RequestRejectedError if answer.refused else RequestError)(info, instance_id, asked.name)
    return asked.codec.decode(answer.result, what=f"answer of {asked.name!r}")
