"""The `perdure` command, where the extra `cli` is installed."""

import sys
from importlib.util import find_spec

LIBRARIES = ("click", "rich")


def main() -> int:
    """Run the command line.

    Returns:
        The exit status of the process; docs/reference/cli.md lists them.
    """
    if any(find_spec(library) is None for library in LIBRARIES):
        sys.stderr.write("perdure: the command line needs the extra `cli`: pip install 'perdure[cli]'\n")
        return 1
    from perdure.cli.app import main as run  # noqa: PLC0415 - its libraries are an extra

    return run()


if __name__ == "__main__":
    sys.exit(main())
