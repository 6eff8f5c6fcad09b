"""What is written is the same each time, and any kind of bytes is read."""

import subprocess
import sys

import pytest

from perdure.codec import codec_for
from tests.codec import payloads

SETS = """
from perdure.codec import codec_for, encode_any
names = {"ape", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"}
print(codec_for(dict[str, set[str]]).encode({"z": names, "a": set()}))
print(encode_any({"any": names, "mixed": frozenset({1, "one", None, (1, 2)})}))
"""


@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_any_kind_of_bytes_is_read(wrap):
    assert codec_for(list[int]).decode(wrap(b"[1, 2]"), what="it") == [1, 2]


def test_dicts_keep_their_order_and_sets_have_one():
    data = codec_for(dict[str, set[int]]).encode({"z": {3, 1, 2}, "a": set()}, what="it")

    assert data == b'{"z":[1,2,3],"a":[]}'


def test_what_is_written_does_not_depend_on_the_hash_seed():
    written = {
        subprocess.run(
            [sys.executable, "-c", SETS], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "0123"
    }

    assert len(written) == 1


def test_a_codec_is_made_once():
    assert codec_for(payloads.Order) is codec_for(payloads.Order)
    assert repr(codec_for(dict[str, payloads.Order])) == "codec_for(dict[str, Order])"
