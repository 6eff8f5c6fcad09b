"""What a start may say beside its inputs: attributes to find it by, and an exact version."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from perdure._types import check_name, instant_us
from perdure.codec import encode_any
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping  # noqa: TC004 - the annotations of the options are never evaluated

    from perdure._types import OnConflict  # noqa: TC004 - the same

Attribute: TypeAlias = str | int | float | bool | datetime


class StartOptions(TypedDict, total=False):
    """The options of `start_orchestration`; see there."""

    instance_id: str | None
    version: str | None
    on_conflict: OnConflict
    attributes: Mapping[str, Attribute] | None
    start_at: datetime | None
    connection: Any


def checked_version(version: str | None) -> str | None:
    if version is not None:
        from perdure._definitions import version_key  # noqa: PLC0415 - rarely needed

        version_key(version)
    return version


def encode_attributes(attributes: Mapping[str, Attribute]) -> bytes:
    plain: dict[str, Any] = {}
    for key, value in attributes.items():
        check_name("attribute", key)
        if isinstance(value, datetime):
            plain[key] = instant_us(value, f"attribute {key!r}")
        elif isinstance(value, str | int | float | bool):
            plain[key] = value
        else:
            raise UsageError(
                f"attribute {key!r} is {value!r}: attributes are strings, numbers, booleans or aware datetimes"
            )
    return encode_any(plain, what="attributes")
