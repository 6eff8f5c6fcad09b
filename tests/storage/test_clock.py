"""Time and chance in the hands of a test, and the time of a store, which never goes back."""

from perdure.storage.clock import ForwardClock
from perdure.testing._clock import ManualClock, SeededEntropy


def test_a_manual_clock_moves_only_when_it_is_told():
    clock = ManualClock(now_us=10)
    assert (clock.now_us(), clock.monotonic_us()) == (10, 0)
    assert clock.advance(5) == 15
    assert (clock.now_us(), clock.monotonic_us()) == (15, 5)


def test_a_manual_clock_can_be_set_back_without_monotonic_time():
    clock = ManualClock(now_us=10)
    clock.advance(5)
    clock.set(3)
    assert (clock.now_us(), clock.monotonic_us()) == (3, 5)


def test_a_seed_repeats_its_entropy():
    first, again, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    tokens = [first.token() for _ in range(5)]
    assert tokens == [again.token() for _ in range(5)]
    assert len({*tokens, other.token()}) == 6
    assert {len(token) for token in tokens} == {16}
    assert first.fraction() == again.fraction()


def test_entropy_is_the_same_on_every_python():
    entropy = SeededEntropy(42)
    assert entropy.token().hex() == "bdd732262feb6e9528efe333b266f103"
    assert all(0 <= entropy.fraction() < 1 for _ in range(1_000))


def test_a_stores_time_stands_still_while_its_clock_is_behind():
    clock = ManualClock(now_us=10)
    forward = ForwardClock(clock)
    seen = [forward.now_us()]
    for now_us in (15, 3, 14, 16):
        clock.set(now_us)
        seen.append(forward.now_us())
    assert seen == [10, 15, 15, 15, 16]
