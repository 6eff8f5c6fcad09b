"""Have pytest rewrite the assertions of all tests once and write them down, for each process that runs some later.

`python tools/rewritten.py` imports every test module as pytest does and makes no test of it, which is half the work.
Needs PYTHONDONTWRITEBYTECODE to be unset.
"""

import sys

import pytest


class OnlyModules:
    """Collects modules and nothing in them."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self) -> list[pytest.Item]:
        """What a name in a module is to pytest: nothing."""
        return []


def main() -> int:
    """Import them.

    Returns:
        0 when every module could be imported, or else pytest's exit status.
    """
    status = pytest.main(["-qq", "--collect-only", "-p", "no:cacheprovider"], plugins=[OnlyModules()])
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else int(status)


if __name__ == "__main__":
    sys.exit(main())
