"""The plain vocabulary below everything else: durations and instants, statuses, ids, and the limits.

All time is int64 microseconds: instants count from 1970 in UTC, durations from zero, both up to the end of the year
9999. All ids and names are NFC text of 1 to 256 bytes of UTF-8, matched by their bytes. Nothing here reads a clock or
draws randomness: ids that must be unique are derived from the incarnation, which is drawn elsewhere.
"""

from base64 import b32encode
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from perdure.errors import LimitError, UsageError
from perdure.errors._record import shown

if TYPE_CHECKING:
    from hashlib import blake2b

Duration: TypeAlias = timedelta | float
"""A span of time; a bare number is seconds, as in asyncio."""

OnConflict: TypeAlias = Literal["fail", "use_existing", "restart_if_closed", "terminate_and_restart"]
"""What a start does when the instance id is taken."""

ClosePolicy: TypeAlias = Literal["cancel", "terminate", "abandon"]
"""What becomes of a child when its parent ends."""

CancelPolicy: TypeAlias = Literal["leave", "wait"]
"""What a cancellation does to an activity that runs."""

NAME_BYTES_MAX: Final = 256
PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
PAYLOAD_DEPTH_MAX: Final = 200
INTEGER_DIGITS_MAX: Final = 4300  # what Python itself turns into text, unless told otherwise
INPUTS_MAX: Final = 3
KV_KEYS_MAX: Final = 1_000
KV_VALUE_BYTES_MAX: Final = 64 * 1024
KV_BYTES_MAX: Final = PAYLOAD_BYTES_MAX  # names and values together: a continue-as-new takes all of it along
CUSTOM_STATUS_BYTES_MAX: Final = 256 * 1024
INSTANT_US_MAX: Final = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z
DURATION_US_MAX: Final = INSTANT_US_MAX
COUNT_MAX: Final = 1_000_000_000_000
SLOTS: Final = 1024

OWN_NAMES: Final = "perdure::"
"""How the names begin of what every worker brings along."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROOT_BYTES_MAX = 200
_CHILD_SUFFIX_CHARS = 13
_IDEMPOTENCY_KEY_CHARS = 26
_BASE32 = frozenset("abcdefghijklmnopqrstuvwxyz234567")
# Control characters, line and paragraph separators, and unpaired surrogates; the bidirectional controls, which can make
# an id look like another one, are format characters (as the joiners of emoji are) and listed one by one.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDIRECTIONAL_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Status(StrEnum):
    """Where an instance stands."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    MOVED = "moved"

    # That of an enumeration is worked out by Python code, each time.
    __hash__ = str.__hash__

    @property
    def is_closed(self) -> bool:
        """Whether the instance has ended, here at least; nothing moves it any more."""
        return self in _CLOSED


_CLOSED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TERMINATED, Status.MOVED})


def duration_us(duration: Duration, what: str = "duration") -> int:
    """The duration in microseconds, rounded to the nearest.

    Args:
        duration: A timedelta, or a number of seconds.
        what: What the duration is for, for the error ("timer", "retry delay").

    Raises:
        UsageError: It is no number, NaN, infinite, or negative.
        LimitError: It is longer than 9999 years.

    >>> duration_us(1.5)
    1500000
    """
    if isinstance(duration, timedelta):
        us = (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds
    elif isinstance(duration, bool) or not isinstance(duration, int | float):
        raise UsageError(f"{what} must be seconds or a timedelta, not {shown(duration)}")
    elif not 0 <= duration < float("inf"):
        raise UsageError(f"{what} must be a finite number of seconds, 0 or more, not {shown(duration)}")
    else:
        us = duration * 1_000_000 if isinstance(duration, int) else round(duration * 1_000_000)
    if us < 0:
        raise UsageError(f"{what} must not be negative, and is {duration!r}")
    if us > DURATION_US_MAX:
        raise LimitError(f"{what} is {shown(duration)}; the longest is {DURATION_US_MAX // 1_000_000} s, 8029 years")
    return us


def instant_us(instant: datetime, what: str = "instant") -> int:
    """The instant in microseconds since 1970 in UTC.

    Args:
        instant: An aware datetime; a naive one could mean any hour of the day.
        what: What the instant is for, for the error.

    Raises:
        UsageError: It is naive, or no datetime.
        LimitError: It is before 1970 or after 9999.

    >>> instant_us(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    if not isinstance(instant, datetime):
        raise UsageError(f"{what} must be an aware datetime, not {shown(instant)}")
    if instant.utcoffset() is None:
        raise UsageError(f"{what} must be an aware datetime; {instant!r} has no time zone: pass tzinfo=UTC or its own")
    since = instant - _EPOCH
    us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not 0 <= us <= INSTANT_US_MAX:
        raise LimitError(f"{what} is {instant!r}; it must be in the years 1970 to 9999 of UTC")
    return us


def from_us(us: int) -> datetime:
    """The aware UTC datetime of microseconds since 1970; for what is due after the year 9999, its last instant.

    >>> from_us(86_400_000_000)
    datetime.datetime(1970, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return _EPOCH + timedelta(microseconds=min(us, INSTANT_US_MAX))


def check_count(what: str, value: int, least: int = 1, hint: str = "") -> int:
    """A whole number that counts something, if it can: `least` or more.

    Args:
        what: What it counts, for the error.
        value: The number.
        least: The smallest that means something.
        hint: What else is to be known, at the end of the error.

    Raises:
        UsageError: It is no whole number, or below `least`.
        LimitError: It is larger than anything that could be counted.
    """
    if type(value) is not int or value < least:
        raise UsageError(f"{what} is {shown(value)}: use a whole number, {least} or more{hint}")
    if value > COUNT_MAX:
        raise LimitError(f"{what} is {shown(value)}: use a whole number from {least} to {COUNT_MAX:,}{hint}")
    return value


def check_name(kind: str, value: str) -> str:
    """The name, as a plain `str`, if it is allowed: 1 to 256 bytes of UTF-8, NFC, no control characters.

    Args:
        kind: What is named, for the error ("activity", "event", "tag", "instance id").
        value: The name.

    Raises:
        UsageError: It is no string, empty, not NFC, or has a character that is not allowed.
        LimitError: It is longer than 256 bytes.

    >>> check_name("event", "approved")
    'approved'
    """
    # So are nearly all names.
    if type(value) is str and 0 < len(value) <= NAME_BYTES_MAX and value.isascii() and value.isprintable():
        return value
    if not isinstance(value, str):
        raise UsageError(f"{kind} must be a string, not {shown(value)}")
    name = str.__str__(value)
    if not name:
        raise UsageError(f"{kind} must not be empty")
    size_bytes = len(name.encode(errors="surrogatepass"))
    if size_bytes > NAME_BYTES_MAX:
        raise LimitError(f"{kind} {shown(name)} has {size_bytes} bytes of UTF-8; at most {NAME_BYTES_MAX} are allowed")
    if not (name.isascii() and name.isprintable()):
        _check_characters(kind, name)
    return name


def check_instance_id(value: str) -> str:
    """The instance id, as a plain `str`, if a user may give it to a new instance.

    It must be a name (see `check_name`) and must not end as the derived ids of children do. To *address* an instance,
    which may be a child, `check_name("instance id", value)` is the check.

    Raises:
        UsageError: As `check_name`, or it ends in "~" and 13 base32 characters.
        LimitError: As `check_name`.
    """
    instance_id = check_name("instance id", value)
    suffix = instance_id[-_CHILD_SUFFIX_CHARS:]
    if instance_id[-_CHILD_SUFFIX_CHARS - 1 : -_CHILD_SUFFIX_CHARS] == "~" and _BASE32.issuperset(suffix):
        raise UsageError(
            f"instance id {instance_id!r} ends in '~' and 13 base32 characters, which marks the derived ids "
            "of children: choose another one, or start the child without an id"
        )
    return instance_id


def child_id(root_id: str, parent_incarnation: int, execution: int, seq: int) -> str:
    """The derived id of a child: short at any depth, and never the same twice.

    Args:
        root_id: The instance id at the top of the tree; its first 200 bytes are kept, so that children sort beside it.
        parent_incarnation: The incarnation of the parent (not of the root).
        execution: The execution of the parent that asks, from 1.
        seq: The event of that execution by which it asks.
    """
    prefix = _root_part(root_id.encode())
    return f"{prefix}~{_digest(b'perdure-child', _CHILD_SUFFIX_CHARS, parent_incarnation, execution, seq)}"


def idempotency_key(incarnation: int, execution: int, event: int) -> str:
    """The key of an activity's effect, 26 base32 characters: the same on every attempt, delivery and store.

    Args:
        incarnation: The incarnation of the instance.
        execution: Its execution, from 1.
        event: The event that scheduled the activity.
    """
    return _digest(b"perdure-effect", _IDEMPOTENCY_KEY_CHARS, incarnation, execution, event)


def slot_of(instance_id: str) -> int:
    """The slot, 0 to 1023, by which instances are spread over databases: blake2b of the id, for ever.

    A derived id has the slot of the id that its tree began with, so that a tree without ids of its own stays together.
    """
    if instance_id[-_CHILD_SUFFIX_CHARS - 1 : -_CHILD_SUFFIX_CHARS] == "~":
        suffix = instance_id[-_CHILD_SUFFIX_CHARS:]
        instance_id = instance_id[: -_CHILD_SUFFIX_CHARS - 1] if _BASE32.issuperset(suffix) else instance_id
    data = instance_id.encode()
    if len(data) > _ROOT_BYTES_MAX:
        data = _root_part(data).encode()
    return int.from_bytes(_blake2b()(data, digest_size=8).digest(), "big") % SLOTS


def _root_part(data: bytes) -> str:
    """What derived ids begin with."""
    return data[:_ROOT_BYTES_MAX].decode(errors="ignore")


@cache
def _blake2b() -> "type[blake2b]":
    # OpenSSL comes with it, which would double the import time of this module; once is enough, for every start asks.
    from hashlib import blake2b  # noqa: PLC0415 -- see above

    return blake2b


def _digest(purpose: bytes, chars: int, *numbers: int) -> str:
    message = b"".join(number.to_bytes(8, "big") for number in numbers)
    digest = _blake2b()(message, digest_size=-(-chars * 5 // 8), person=purpose).digest()
    return b32encode(digest)[:chars].decode().lower()


def _check_characters(kind: str, name: str) -> None:
    from unicodedata import category, is_normalized  # noqa: PLC0415 -- only names beyond ASCII need its tables

    for position, character in enumerate(name):
        if category(character) in _REFUSED_CATEGORIES or character in _BIDIRECTIONAL_CONTROLS:
            raise UsageError(
                f"{kind} {shown(name)} has the character U+{ord(character):04X} at position {position}: control, "
                "line-separating, bidirectional and surrogate characters are not allowed"
            )
    if not is_normalized("NFC", name):
        raise UsageError(
            f"{kind} {shown(name)} is not in Unicode's normal form NFC: pass unicodedata.normalize('NFC', ...)"
        )
