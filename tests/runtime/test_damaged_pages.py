"""A damaged page of a SQLite file harms the instance whose row it has, in words, and all others go on."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from perdure import (
    Client,
    DatabaseCorruptError,
    OrchestrationContext,
    Registry,
    Runtime,
    Status,
    orchestration,
)
from perdure.storage.sqlite.files import PAGE_BYTES

LONG = "x" * 5 * PAGE_BYTES
POINTER_BYTES = 4


@orchestration(name="measure")
async def measure(ctx: OrchestrationContext, text: str) -> int:
    return len(text)


def tear_chain(path: Path) -> None:
    """Let the long row of the file end before its end."""
    connection = apsw.Connection(str(path))
    connection.pragma("wal_checkpoint(truncate)")
    connection.close()
    content = bytearray(path.read_bytes())
    pages = range(0, len(content), PAGE_BYTES)
    filled = LONG[POINTER_BYTES:PAGE_BYTES].encode()
    inner = next(at for at in pages if content[at + POINTER_BYTES : at + PAGE_BYTES] == filled)
    content[inner : inner + POINTER_BYTES] = bytes(POINTER_BYTES)
    path.write_bytes(content)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


async def test_what_cannot_be_written_for_damage_is_refused_and_harms_no_other(url, tmp_path):
    async with Client(url) as client:
        await client.start_orchestration(measure, LONG, instance_id="sick", start_at=datetime(2100, 1, 1, tzinfo=UTC))
    tear_chain(tmp_path / "store.db")
    async with Runtime(url, Registry(measure)) as runtime:
        client = runtime.client
        answers = await asyncio.gather(
            client.delete("sick", force=True),
            *(client.start_orchestration(measure, "short", instance_id=f"well-{n}") for n in range(3)),
            return_exceptions=True,
        )
        assert isinstance(answers[0], DatabaseCorruptError)
        assert "can't take this request, and nothing of it was applied" in str(answers[0])
        assert [await client.get_handle(f"well-{n}").result() for n in range(3)] == [len("short")] * 3
        assert (await client.get_handle("sick").status()).status is Status.PENDING
