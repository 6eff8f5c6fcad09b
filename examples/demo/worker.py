"""The worker: `python -m examples.demo.worker STORE LEDGER`, until it is told to stop, or killed."""

import asyncio
import sys
from pathlib import Path

from examples.demo.registry import make_registry
from perdure import Runtime


def main() -> None:
    """Run whatever the store has to do. After a kill nothing is needed but to start this again."""
    store, ledger = map(Path, sys.argv[1:])
    asyncio.run(Runtime(store, make_registry(ledger)).serve())


if __name__ == "__main__":
    main()
