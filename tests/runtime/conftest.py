"""What the runtime's tests share: files for the store, and programs in processes of their own."""

from pathlib import Path

import pytest

from tests.runtime.processes import WORKER, Program


@pytest.fixture
def database(tmp_path) -> str:
    """The URL of a SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    """The URL of an empty store, of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
async def spawn():
    """Starts programs, by default workers, and kills what is left of them."""
    programs: list[Program] = []

    async def start(*arguments: str, script: Path = WORKER) -> Program:
        programs.append(await Program.start(script, *arguments))
        return programs[-1]

    yield start
    for program in programs:
        await program.kill()
