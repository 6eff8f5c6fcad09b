"""The `perdure` command.

Until its verbs come, it says which version is installed and where to read on.
"""

import sys

from perdure import __version__


def main() -> int:
    """Print the installed version and where the documentation is.

    Returns:
        The exit status of the process, always 0.
    """
    sys.stdout.write(
        f"perdure {__version__} on Python {sys.version.split()[0]}\n"
        "Durable orchestrations in plain asyncio Python, used as a library: `from perdure import Runtime, Registry`.\n"
        "README.md and the folder docs/ of the source explain how; this command has no verbs yet.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
