"""How deep JSON is nested, told from its bytes, in C: a parser would have to nest as deeply to find out."""

import re
from typing import Final

from perdure._types import PAYLOAD_DEPTH_MAX

SHALLOW_BYTES: Final = PAYLOAD_DEPTH_MAX + PAYLOAD_DEPTH_MAX
"""What is no longer can't be nested too deeply: every level takes a bracket to open and one to close."""

_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_ALL_BUT_STRUCTURE: Final = bytes(sorted(set(range(256)) - set(b'[]{}"')))
_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")


def is_deeper(data: bytes, levels: int) -> bool:
    """Whether arrays and objects are nested in more levels than these; for broken JSON the answer may be either."""
    if data.count(b"[") + data.count(b"{") <= levels:
        return False
    if b"\\" in data:
        data = _ESCAPE.sub(b"", data)
    structure = data.translate(_AS_SQUARE, _ALL_BUT_STRUCTURE).replace(b'""', b"")
    if b'"' in structure:
        # Some text has brackets in it. What stands between quotes is text, every second piece.
        structure = b"".join(structure.split(b'"')[::2])
    for _ in range(levels):
        peeled = structure.replace(b"[]", b"")
        if len(peeled) == len(structure):
            return False
        structure = peeled
    return bool(structure)
