"""What is stored outside of history has a checksum behind it: every changed byte is found."""

import pytest

from perdure import HistoryCorruptError
from perdure._work import sealed, unsealed


@pytest.mark.parametrize("payload", [b"", b"1", b'{"a": [1, 2, null]}', bytes(range(256))])
def test_a_seal_gives_back_what_was_sealed(payload: bytes):
    assert unsealed(sealed(payload), "it") == payload


@pytest.mark.parametrize("payload", [b"", b"1", b'"text"'])
def test_every_changed_bit_and_every_missing_byte_is_found(payload: bytes):
    stored = sealed(payload)
    damaged = [stored[:end] for end in range(len(stored))]
    for place in range(len(stored)):
        damaged += [stored[:place] + bytes([stored[place] ^ 1 << bit]) + stored[place + 1 :] for bit in range(8)]
    for each in damaged:
        with pytest.raises(HistoryCorruptError, match="the checksum of row 7 is wrong: bytes were changed"):
            unsealed(each, "row %d", 7)
