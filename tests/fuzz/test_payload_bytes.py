"""Stored bytes that are no payload, or not the one asked for, are refused with a `PayloadError` and no other."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from perdure import PayloadError
from perdure.codec import codec_for
from tests.codec import payloads
from tests.fuzz.damage import Choose, changed_bytes, chooser


@pytest.mark.parametrize(("annotation", "values"), payloads.VALUES, ids=[str(each[0]) for each in payloads.VALUES])
def test_changed_bytes_are_read_as_a_value_or_refused(annotation: Any, values: st.SearchStrategy[Any]):
    codec = codec_for(annotation)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=values, choose=chooser())
    def check(value: Any, choose: Choose) -> None:
        data = changed_bytes(codec.encode(value, what="it"), choose)
        note(repr(data))
        with suppress(PayloadError):
            read = codec.decode(data, what="it")
            again = codec.decode(codec.encode(read, what="it"), what="it")
            assert codec.encode(again, what="it") == codec.encode(read, what="it")

    check()
