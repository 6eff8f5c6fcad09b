"""The file in which instances travel: one JSON object per line, all of it checked before anything of it is believed.

Laws kept here: a file is read as if a stranger had written it; nothing is imported by name from it, every line has one
of the forms below and nothing else, and what its lines say must agree with each other and with the histories in it.

The first line says what the file is. Then come trees of instances, each instance with its rows behind it, a parent
before its children, and behind each tree how many lines it has and their checksum. The last line counts, so that a file
that was cut is found out. All times are integers of microseconds since 1970 in UTC; payloads are base64, events text.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec.structs import asdict, replace

from perdure import _events as ev
from perdure._client.export_checks import check_tree
from perdure._work import (
    EntryImage,
    HistoryImage,
    HistoryRow,
    InstanceImage,
    InstanceRecord,
    MessageImage,
    TaskImage,
    TimerImage,
)
from perdure.errors import ExportFileError, PerdureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

FORMAT = 1
"""The format of files written by this release."""

EXPORT_LINE_BYTES_MAX = 256 * 1024 * 1024
"""The longest line of an export that is read."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="t"):
    """What all lines have in common."""


class Head(_Line, frozen=True, tag="perdure-export"):
    """The first line."""

    format: int
    events: int
    """The format of the events."""


class InstanceLine(InstanceRecord, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
                   tag_field="t", tag="instance"):  # fmt: skip
    """An instance's own row."""

    ready_at: int


class HistoryLine(_Line, frozen=True, tag="history"):
    """The events of one turn, as the JSON that is stored."""

    execution: int
    first: int
    last: int
    at: int
    crc: int
    format: int
    encoding: str
    data: str


class MessageLine(MessageImage, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
                  tag_field="t", tag="message"):  # fmt: skip
    """A message that waits."""


class TimerLine(TimerImage, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
                tag_field="t", tag="timer"):  # fmt: skip
    """A timer."""


class TaskLine(TaskImage, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
               tag_field="t", tag="activity"):  # fmt: skip
    """An activity that has not ended."""


class EntryLine(EntryImage, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
                tag_field="t", tag="entry"):  # fmt: skip
    """What it keeps under a key."""


class KeyLine(_Line, frozen=True, tag="dedup-key"):
    """The key of something that a client has sent."""

    key: str


class TreeLine(_Line, frozen=True, tag="tree"):
    """The end of a tree."""

    lines: int
    crc: int


class EndLine(_Line, frozen=True, tag="end"):
    """The end of the file."""

    trees: int
    instances: int


_Row: TypeAlias = HistoryLine | MessageLine | TimerLine | TaskLine | EntryLine | KeyLine
_Any: TypeAlias = Head | InstanceLine | _Row | TreeLine | EndLine

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[_Any] = msgspec.json.Decoder(_Any)
_PLACES: dict[type, tuple[str, type]] = {
    MessageLine: ("messages", MessageImage),
    TimerLine: ("timers", TimerImage),
    TaskLine: ("tasks", TaskImage),
    EntryLine: ("entries", EntryImage),
}


def trees_of(images: Iterable[InstanceImage]) -> list[list[InstanceImage]]:
    """The trees among images that were read together: in each, parents come before their children.

    A root's parent is not among them, and is forgotten: where the tree goes, there is none.
    """
    images = list(images)
    known = {image.record.incarnation for image in images}
    below: dict[int, list[InstanceImage]] = {}
    trees: list[list[InstanceImage]] = []
    for image in images:
        parent = image.record.parent
        if parent is None or parent.incarnation not in known:
            trees.append([replace(image, record=replace(image.record, parent=None))])
        else:
            below.setdefault(parent.incarnation, []).append(image)
    for tree in trees:
        for image in tree:
            tree.extend(below.get(image.record.incarnation, ()))
    return trees


def head() -> bytes:
    """The first line."""
    return _encode(Head(format=FORMAT, events=ev.HISTORY_FORMAT)) + b"\n"


def tree_lines(tree: Iterable[InstanceImage]) -> bytes:
    """The lines of a tree."""
    lines = [_encode(line) + b"\n" for image in tree for line in _lines(image)]
    text = b"".join(lines)
    return text + _encode(TreeLine(lines=len(lines), crc=zlib.crc32(text))) + b"\n"


def end(trees: int, instances: int) -> bytes:
    """The last line."""
    return _encode(EndLine(trees=trees, instances=instances)) + b"\n"


def _lines(image: InstanceImage) -> Iterator[Any]:
    yield InstanceLine(**asdict(image.record), ready_at=image.ready_at)
    for each in image.history:
        row = asdict(each.row)
        yield HistoryLine(**row | {"execution": each.execution, "data": _text(each.row.data)})
    for kind, (place, _) in _PLACES.items():
        for part in getattr(image, place):
            yield kind(**asdict(part))
    for key in image.dedup_keys:
        yield KeyLine(key=key)


def _text(data: bytes) -> str:
    # What is no text is damaged, and will be told so where it is read.
    return data.decode("utf-8", "replace")


def read_trees(file: BinaryIO) -> Iterator[list[InstanceImage]]:
    """The trees of a file, each as soon as it was found good; the last when the whole file was.

    Raises:
        ExportFileError: It is none, or not as it was written.
    """
    reader = _Reader(file)
    first = reader.next()
    if not isinstance(first, Head) or first.format != FORMAT or first.events != ev.HISTORY_FORMAT:
        what = f"is of format {first.format}" if isinstance(first, Head) else "does not begin an export"
        raise ExportFileError(1, f"{what}; this release reads format {FORMAT}, events {ev.HISTORY_FORMAT}")
    ids: set[str] = set()
    incarnations: set[int] = set()
    trees = 0
    tree: list[InstanceImage] | None = None
    while True:
        following = reader.tree()
        if tree is not None:
            yield tree
        if following is None:
            break
        tree, trees = following, trees + 1
        for image in tree:
            if image.record.id in ids or image.record.incarnation in incarnations:
                raise ExportFileError(reader.line, f"is of a tree with {image.record.id!r}, which was there before")
            ids.add(image.record.id)
            incarnations.add(image.record.incarnation)
    if reader.counted != EndLine(trees=trees, instances=len(ids)):
        raise ExportFileError(reader.line, f"counts otherwise than there are: {trees} trees, {len(ids)} instances")


class _Reader:
    """Reads lines, and what they make together."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.line = 0
        self.counted: EndLine | None = None
        self._raw = b""

    def next(self) -> _Any:
        """The next line."""
        self.line += 1
        self._raw = self._file.readline(EXPORT_LINE_BYTES_MAX + 1)
        if len(self._raw) > EXPORT_LINE_BYTES_MAX:
            raise ExportFileError(self.line, f"is longer than {EXPORT_LINE_BYTES_MAX:,} bytes")
        if not self._raw.endswith(b"\n"):
            raise ExportFileError(self.line, "is not there: the file was cut" if not self._raw else "was cut")
        try:
            return _decoder.decode(self._raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ExportFileError(self.line, f"is none of an export ({error})") from error

    def tree(self) -> list[InstanceImage] | None:
        """The next tree; None at the end of the file."""
        begin, crc = self.line, 0
        instances: list[tuple[InstanceLine, list[_Row]]] = []
        while not isinstance(line := self.next(), TreeLine):
            if isinstance(line, EndLine) and not instances:
                self.counted = line
                if self._file.read(1):
                    raise ExportFileError(self.line + 1, "comes after the end")
                return None
            if isinstance(line, InstanceLine):
                instances.append((line, []))
            elif isinstance(line, Head | EndLine) or not instances:
                raise ExportFileError(self.line, "is out of place")
            else:
                instances[-1][1].append(line)
            crc = zlib.crc32(self._raw, crc)
        if not instances or (line.lines, line.crc) != (self.line - begin - 1, crc):
            raise ExportFileError(self.line, "has another checksum than the tree before it")
        try:
            tree = [_image(*each) for each in instances]
            check_tree(tree)
        except PerdureError as error:
            raise ExportFileError(self.line, f"ends a tree that is not as it was written ({error})") from error
        return tree


def _image(line: InstanceLine, rows: Iterable[_Row]) -> InstanceImage:
    parts: dict[str, list[Any]] = {"history": [], "dedup_keys": []} | {place: [] for place, _ in _PLACES.values()}
    for row in rows:
        if isinstance(row, HistoryLine):
            fields: dict[str, Any] = asdict(row) | {"data": row.data.encode()}
            execution = fields.pop("execution")
            parts["history"].append(HistoryImage(execution=execution, row=HistoryRow(**fields)))
        elif isinstance(row, KeyLine):
            parts["dedup_keys"].append(row.key)
        else:
            place, kind = _PLACES[type(row)]
            parts[place].append(kind(**asdict(row)))
    of_line: dict[str, Any] = asdict(line)
    ready_at = of_line.pop("ready_at")
    return InstanceImage(
        record=InstanceRecord(**of_line), ready_at=ready_at, **{place: tuple(part) for place, part in parts.items()}
    )
