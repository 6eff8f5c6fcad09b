"""The differential tape: the same random calls on the reference storage and on another, with equal answers.

A seed makes a tape: registrations, deaths, commits of every kind of item, claims with small limits, clock moves, reads.
After each call the answers, and then everything that can be read, must be equal. A tape that fails is shortened before
it is shown, and `python -m perdure.testing.storage_suite --seed N` plays it again.
"""

from perdure.testing.storage_suite.tape.play import DifferenceError, Faults, Make, check

__all__ = ["DifferenceError", "Faults", "Make", "check"]
