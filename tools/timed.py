"""Run a command, pass its output on, and say at the end how long it took: `python tools/timed.py NAME COMMAND...`."""

import subprocess
import sys
import time


def main() -> int:
    """Run the command given on the command line.

    Returns:
        The command's own exit status.
    """
    name, *command = sys.argv[1:]
    begun = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    verdict = "ok" if status == 0 else f"FAILED (exit {status})"
    print(f"[{name}] {verdict} in {time.monotonic() - begun:.1f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
