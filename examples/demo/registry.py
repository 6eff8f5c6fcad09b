"""What a worker of the shop can run, and what its activities share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from examples.demo import activities, orchestrations
from examples.demo.ledger import Ledger
from perdure import Registry


def make_registry(ledger_path: Path) -> Registry:
    """Every activity and orchestration of the shop, over these books."""

    @asynccontextmanager
    async def open_ledger() -> AsyncIterator[Ledger]:
        # Entered by each worker once; what it yields is `ctx.state(Ledger)` in the activities.
        ledger = Ledger(ledger_path)
        try:
            yield ledger
        finally:
            ledger.close()

    return Registry(activities, orchestrations, lifespan=open_ledger)
