"""An option of the environment that means nothing is refused where it is given."""

import pytest

from perdure import OrchestrationContext, Registry, UsageError, orchestration
from perdure.testing import Environment


@orchestration
async def nothing(ctx: OrchestrationContext) -> None: ...


@pytest.mark.parametrize("given", [nothing, [nothing], None])
def test_what_is_no_registry_is_refused(given):
    with pytest.raises(UsageError, match=r"Environment takes a Registry, not .*: write Environment\(Registry\(...\)\)"):
        Environment(given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1.5}, "seed is 1.5: use a whole number"),
        ({"retention": 30}, "retention is 30: use Retention"),
        ({"turn_limit": float("nan")}, "turn_limit must be a finite number of seconds"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Environment(Registry(nothing), **options)
