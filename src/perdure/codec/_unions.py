"""The shape of unions.

msgspec tells the members of a union apart by their kind of JSON, or by the tags of structs. Other unions (of several
dataclasses, of str and UUID) carry a tag of ours where they need one: `{"$type": "Card", ...}` for what is an object in
JSON, `{"$type": "UUID", "$value": ...}` for the rest. None, booleans, numbers and text are never tagged.

An object without a tag is read as the first member that it fits: a payload that was written before the annotation
became a union, or by another program, stays readable.
"""

from types import NoneType
from typing import Any, Final

import msgspec

from perdure.codec._models import ModelShape
from perdure.codec._records import RecordShape, StructShape, TypedDictShape
from perdure.codec._shapes import (
    ANY_KIND,
    CompositeShape,
    Encoded,
    ExactShape,
    FloatShape,
    IntShape,
    LiteralShape,
    Misfit,
    Shape,
    StrShape,
    encode_json,
)
from perdure.errors import RegistrationError

TAG: Final = "$type"
VALUE: Final = "$value"
_BARE = (StrShape, IntShape, FloatShape, LiteralShape)
_KINDS = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class UnionShape(CompositeShape):
    """A union that msgspec can tell apart by itself."""

    def __init__(self, annotation: Any, name: str, members: tuple[Shape, ...]) -> None:
        super().__init__(annotation, name)
        self.parts = members
        self._look_at(members)
        self.kinds = frozenset().union(*(member.kinds for member in members))

    def plain(self, value: Any) -> bool:
        if type(value) in self.exact:
            return True
        for plain in self._others:  # noqa: SIM110 -- a generator costs more than the checks
            if plain(value):
                return True
        return False

    def lower(self, value: Any, depth_left: int) -> Any:
        return self._choose(value, depth_left)[1]

    def lift(self, data: Encoded) -> Any:
        """Some member needs lifting, but they are all of different kinds: the one that can read it is the one."""
        return _read_first(self.parts, data)

    def _look_at(self, members: tuple[Shape, ...]) -> None:
        """Let only these members have plain values."""
        self.exact = frozenset().union(*(member.exact for member in members))
        self._others = tuple(member.plain for member in members if type(member).plain is not Shape.plain)

    def _choose(self, value: Any, depth_left: int) -> tuple[Shape, Any]:
        """The member for the value, and the lowered value; raises the `Misfit` that says most."""
        claimed: list[Shape] = []
        others: list[Shape] = []
        for member in self.parts:
            (claimed if member.claims(value) else others).append(member)
        misfits = []
        for member in claimed + others:
            try:
                return member, member.lower(value, depth_left)
            except Misfit as misfit:
                misfits.append(misfit)
        if claimed:
            raise misfits[0]
        candidates = [misfit for member, misfit in zip(self.parts, misfits, strict=True) if not _is_none(member)]
        raise candidates[0] if len(candidates) == 1 else self.misfit(value)


class TaggedUnionShape(UnionShape):
    """A union whose members need tags to be told apart."""

    native = False

    def __init__(self, annotation: Any, name: str, members: tuple[Shape, ...]) -> None:
        super().__init__(annotation, name, members)
        self.kinds = ANY_KIND
        self._bare = tuple(member for member in members if _is_bare(member))
        self._tagged = {member.name: member for member in members if not _is_bare(member)}
        if len(self._bare) + len(self._tagged) < len(members):
            raise RegistrationError(
                f"{name}: two members of the union have the same name, which is what tells them apart; rename one"
            )
        self._look_at(self._bare)

    def lower(self, value: Any, depth_left: int) -> Any:
        member, lowered = self._choose(value, depth_left)
        return lowered if _is_bare(member) else self._tag(member, lowered)

    def lift(self, data: Encoded) -> Any:
        raw = bytes(data)
        if raw.lstrip()[:1] != b"{":
            return _read_first(self._bare + tuple(self._tagged.values()), raw)
        items = _read_object(raw)
        if TAG not in items:
            return _read_first(tuple(self._tagged.values()), raw)
        tag = msgspec.json.decode(items.pop(TAG))
        member = self._tagged.get(tag) if isinstance(tag, str) else None
        if member is None:
            raise Misfit(f"{self.name} has no member {tag!r}", f".{TAG}")
        return member.read(items[VALUE] if items.keys() == {VALUE} else encode_json(items))

    def _tag(self, member: Shape, lowered: Any) -> Any:
        record = isinstance(member, RecordShape | TypedDictShape | ModelShape) and isinstance(lowered, dict)
        if record and not lowered.keys() & {TAG, VALUE}:
            return {TAG: member.name, **lowered}
        return {TAG: member.name, VALUE: lowered}


def union_shape(annotation: Any, name: str, members: tuple[Shape, ...]) -> UnionShape:
    """The shape of a union, tagged if its members can't be told apart by their kinds of JSON."""
    objects = [member for member in members if "object" in member.kinds]
    tags = {member.tag for member in objects if isinstance(member, StructShape) and member.tag is not None}
    others = [member for member in members if len(tags) < len(objects) or member not in objects]
    kinds = [kind for member in others for kind in member.kinds]
    if len(kinds) == len(set(kinds)):
        return UnionShape(annotation, name, members)
    return TaggedUnionShape(annotation, name, members)


def _is_none(member: Shape) -> bool:
    return NoneType in member.exact


def _is_bare(member: Shape) -> bool:
    return isinstance(member, _BARE) or (isinstance(member, ExactShape) and member.kinds <= {"null", "bool"})


def _read_first(members: tuple[Shape, ...], data: Encoded) -> Any:
    misfits = []
    for member in members:
        try:
            return member.read(data)
        except Misfit as misfit:
            misfits.append(misfit)
    # Not more than its kind: what it holds may be nobody else's business.
    kind = _KINDS.get(bytes(data).lstrip()[:1], "a number")
    names = ", ".join(member.name for member in members)
    raise misfits[0] if len(misfits) == 1 else Misfit(f"it is none of {names}, but {kind}")
