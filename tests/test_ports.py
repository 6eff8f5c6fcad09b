"""The system's randomness, of which nobody draws what another has, and the numbers and ids that are drawn with it."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from perdure._ports import Incarnations, SystemEntropy
from perdure.testing import ManualClock

MANY = 2_000
THREADS = 8
TOKEN_BYTES = 16


def draw(_: int) -> list[bytes]:
    entropy = SystemEntropy()
    return [entropy.token() for _ in range(MANY)]


def test_no_two_tokens_are_alike_whatever_thread_draws_them():
    # when several threads draw at once, far more than are drawn from the system in one go
    with ThreadPoolExecutor(THREADS) as pool:
        tokens = [token for drawn in pool.map(draw, range(THREADS)) for token in drawn]
    # then each token is whole, and one only
    assert {len(token) for token in tokens} == {TOKEN_BYTES}
    assert len(set(tokens)) == THREADS * MANY


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_draws_none_that_its_parent_draws():
    # given a process that has drawn, and so may have some in store
    entropy = SystemEntropy()
    entropy.token()
    # when a child that it forks draws, and it goes on drawing
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, entropy.token())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        of_child = pipe.read()
    # then they have nothing in common
    assert len(of_child) == TOKEN_BYTES
    assert of_child not in draw(0)


def test_the_system_is_asked_once_for_many(monkeypatch):
    # given a system that counts how often it is asked
    asked = []
    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", lambda size: asked.append(size) or urandom(size))
    # when many tokens are drawn
    draw(0)
    # then it was asked for far fewer, which each time would have cost the interpreter's lock
    assert len(asked) < MANY / 100


def test_ids_rise_within_a_millisecond_too_however_many_there_are():
    # given a clock that stands still
    incarnations = Incarnations(ManualClock(), SystemEntropy())
    # when far more ids are drawn than the twelve bits behind the time tell apart
    drawn = [incarnations.draw_id() for _ in range(10_000)]
    # then each is a UUID of version 7, and larger than the one before
    assert all(uuid.UUID(each).version == 7 for each in drawn)
    assert drawn == sorted(set(drawn))
