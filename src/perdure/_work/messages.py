"""Messages: what waits for an instance."""

from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from perdure._events import ABSENT, Carried, KeptValue, Parent
from perdure._work.seals import sealed, unsealed
from perdure.errors import ErrorInfo


class Message(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="m"):
    """What waits for an instance; becomes exactly one event."""


class Start(Message, frozen=True, tag="start"):
    """Begin an execution: the first, or the next one after a continue-as-new.

    Where `version` is open, `since` is the version that has continued as new: the next one is no older.
    """

    input: Raw
    version: str | None = None
    since: str | None = None
    execution: int = 1
    root: str = ""
    parent: Parent | None = None
    carried: tuple[Carried, ...] = ()
    values: tuple[KeptValue, ...] = ()
    status: Raw = ABSENT


class ActivityOutcome(Message, frozen=True, tag="act"):
    """An activity ended: with a result, with an error and no attempts left, or because it was stopped."""

    execution: int
    source: int
    result: Raw = ABSENT
    error: ErrorInfo | None = None
    attempts: int = 1
    timed_out: bool = False
    stopped: bool = False


class TimerDue(Message, frozen=True, tag="tim"):
    """A durable timer is due."""

    execution: int
    source: int
    fire_at: int


class LimitEntered(Message, frozen=True, tag="lim"):
    """The orchestration has a place of a limit that it waits for."""

    execution: int
    source: int


class Raised(Message, frozen=True, tag="evt"):
    """An external event."""

    name: str
    data: Raw


class ChildOutcome(Message, frozen=True, tag="sub"):
    """A sub-orchestration ended; `ending` is completed, failed, cancelled, terminated or refused."""

    execution: int
    source: int
    ending: str
    result: Raw = ABSENT
    error: ErrorInfo | None = None


class QueryAsked(Message, frozen=True, tag="qry"):
    """A question, which leaves no event; `request` is what its answer is kept under."""

    request: str
    name: str
    data: Raw


class UpdateAsked(Message, frozen=True, tag="upd"):
    """A request that may change the instance; refused ones leave no event."""

    request: str
    name: str
    data: Raw


class Cancel(Message, frozen=True, tag="cancel"):
    """Somebody asks the instance to cancel."""

    reason: str = ""


class Terminate(Message, frozen=True, tag="term"):
    """Somebody ends the instance at once. A control message: it needs no code and reaches held instances too."""

    reason: str = ""


AnyMessage: TypeAlias = (
    Start
    | ActivityOutcome
    | TimerDue
    | LimitEntered
    | Raised
    | QueryAsked
    | UpdateAsked
    | ChildOutcome
    | Cancel
    | Terminate
)

_message_encoder = msgspec.json.Encoder()
_message_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


def encode_message(message: AnyMessage) -> bytes:
    """The stored form of a message, sealed."""
    return sealed(_message_encoder.encode(message))


def decode_message(body: bytes) -> AnyMessage:
    """The message of a stored body.

    Raises:
        HistoryCorruptError: It is not what was stored.
        msgspec.DecodeError: It is no message.
    """
    return _message_decoder.decode(unsealed(body, "a message"))


class Answer(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a query or an update is answered with.

    `refused` says that nothing was changed: "unknown" when there is no handler, "rejected" when it was not let in.
    """

    result: Raw = ABSENT
    error: ErrorInfo | None = None
    refused: str = ""


_answer_encoder = msgspec.json.Encoder()
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)

KEPT = "dedup:"
"""How the requests begin whose answers are kept for as long as the instance."""


def encode_answer(answer: Answer) -> bytes:
    """The stored form of an answer, sealed."""
    return sealed(_answer_encoder.encode(answer))


def decode_answer(body: bytes) -> Answer:
    """The answer of a stored body.

    Raises:
        HistoryCorruptError: It is not what was stored.
        msgspec.DecodeError: It is none.
    """
    return _answer_decoder.decode(unsealed(body, "a stored answer"))
