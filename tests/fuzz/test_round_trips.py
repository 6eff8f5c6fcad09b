"""Whatever fits its annotation comes back equal, of the same type, and is written the same each time."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.codec import InputsCodec, codec_for, decode_any, encode_any
from tests.codec import payloads


@pytest.mark.parametrize(("annotation", "values"), payloads.VALUES, ids=[str(each[0]) for each in payloads.VALUES])
def test_what_fits_comes_back_equal(annotation: Any, values: st.SearchStrategy[Any]):
    codec, inputs = codec_for(annotation), InputsCodec((annotation,))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values)
    def check(value):
        data = codec.encode(value, what="it")
        back = codec.decode(data, what="it")

        assert back == value
        assert annotation is float or type(back) is type(value)
        assert codec.encode(back, what="it") == data
        assert inputs.encode((value,)) == b"[%b]" % data
        assert inputs.decode(b"[%b]" % data) == (value,)

    check()


@given(payloads.json)
def test_untyped_json_comes_back_equal(value):
    assert decode_any(encode_any(value)) == value
