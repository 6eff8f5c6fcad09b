"""What the core's tests share: the harness explains its failed assertions, and no execution outlives its test."""

from collections.abc import Generator

import pytest

pytest.register_assert_rewrite("tests.core.harness")


# A fixture for every test of a thousand is a tenth of the time that they take.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Drop what a test left suspended, once its fixtures are done."""
    from perdure._core.loop import alive  # noqa: PLC0415 - the harness is rewritten before it is imported
    from perdure._core.stage import Stage  # noqa: PLC0415 - the same

    try:
        return (yield)
    finally:
        if alive:
            with Stage() as stage:
                for execution in list(alive):
                    with stage.on(execution):
                        execution.drop()
