"""What is in a parcel: the message or the start that goes from a shard to another."""

import msgspec
from msgspec import Struct

from perdure._work.items import ChildStart, OutMessage
from perdure._work.seals import sealed, unsealed


class Content(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Exactly one of the two."""

    start: ChildStart | None = None
    message: OutMessage | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Content)


def parcel_for(shard: int, what: ChildStart | OutMessage) -> OutMessage:
    """What a turn sends to another shard."""
    content = Content(start=what) if isinstance(what, ChildStart) else Content(message=what)
    return OutMessage(body=sealed(_encoder.encode(content)), shard=shard)


def read_parcel(body: bytes) -> Content:
    """What is in it.

    Raises:
        HistoryCorruptError: It is not what was stored.
        msgspec.DecodeError: It is no parcel.
    """
    return _decoder.decode(unsealed(body, "a parcel"))
