"""What runs a page: an empty folder on the import path, an event loop, and a module to be in."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.docs.pages import Page, PageRunner


@pytest.fixture
def make_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Page], PageRunner]]:
    """Makes what runs a page; modules that its files were imported as are forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    if find_spec("fastapi") is None:
        monkeypatch.setitem(sys.modules, "fastapi", _fastapi())
    with asyncio.Runner() as runner:
        yield lambda page: PageRunner(page, runner, module)
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and tmp_path in Path(str(sys.modules[name].__file__)).parents:
            del sys.modules[name]


def _fastapi() -> ModuleType:
    """As much of FastAPI as a page needs, which decorates the handlers and leaves them as they are."""

    class FastAPI:
        def __init__(self, lifespan):
            self.lifespan = lifespan
            self.state = SimpleNamespace()

        def get(self, path):
            assert path.startswith("/")
            return lambda handler: handler

        post = get

    module = ModuleType("fastapi")
    vars(module).update(FastAPI=FastAPI, HTTPException=type("HTTPException", (Exception,), {}))
    return module
