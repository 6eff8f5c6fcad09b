"""What the core's tests share: the harness explains its failed assertions, and no execution outlives its test."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.core.harness")


@pytest.fixture(autouse=True)
def nothing_outlives() -> Iterator[None]:
    """Drop what a test left suspended."""
    from perdure._core.loop import alive  # noqa: PLC0415 - the harness is rewritten before it is imported
    from perdure._core.stage import Stage  # noqa: PLC0415 - the same

    yield
    if alive:
        with Stage() as stage:
            for execution in list(alive):
                with stage.on(execution):
                    execution.drop()
