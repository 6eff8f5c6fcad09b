"""Reads the pages of the documentation, and runs what they show.

The Python blocks of one page share a namespace and run from top to bottom, in an empty folder. A bare `await` is fine,
as in `python -m asyncio`. Beyond that:

- A block whose first line is a path (`# shop/names.py`) is that file: it is written and imported.
- A block that uses `ctx` without defining it is the body of an orchestration, which runs with all that the page has
  defined so far.
- `<!-- check` and Python lines up to `-->` run like a block, and no reader sees them.
"""

import ast
import asyncio
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from perdure import Activity, Orchestration, Registry
from perdure.testing import Environment

ROOT = Path(__file__).resolve().parents[2]
BLOCK_TIMEOUT_S = 20
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "skills").rglob("*.md")])

_FENCE = re.compile(r"^```(?P<language>[\w-]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_CHECK = re.compile(r"^<!-- check\n(?P<code>.*?)^-->$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (?P<path>[\w/-]+\.py)\n")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Code in a line, unless it is the text of a link.
_CODE = re.compile(r"`[^`\n]+`(?!\])")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of a page; `line` is where its code begins."""

    language: str
    code: str
    line: int

    @property
    def file(self) -> str | None:
        """The path of the file that the block is, if it says so."""
        found = _FILE.match(self.code)
        return found["path"] if found else None


@dataclass(frozen=True)
class Page:
    """One page."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return _CHECK.sub("", _FENCE.sub("", self.text))

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks and hidden checks, in their order."""
        found = [*_FENCE.finditer(self.text), *_CHECK.finditer(self.text)]
        return [self._block(match) for match in sorted(found, key=lambda match: match.start())]

    def _block(self, match: re.Match[str]) -> Block:
        before = self.text[: match.start("code")]
        return Block(
            language=match.groupdict().get("language", "python"),
            code=match["code"],
            line=before.count("\n") + 1,
        )

    def blocks_of(self, language: str) -> list[Block]:
        """The blocks in one language."""
        return [block for block in self.blocks if block.language == language]

    @property
    def links(self) -> Iterator[str]:
        """The targets of all links."""
        return (match["target"] for match in _LINK.finditer(_CODE.sub("", self.prose)))

    @cached_property
    def headings(self) -> list[str]:
        """The texts of all headings."""
        return [match["text"] for match in _HEADING.finditer(self.prose)]

    @cached_property
    def anchors(self) -> set[str]:
        """What a link to a heading may name, as GitHub derives it."""
        return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in self.headings}


class PageRunner:
    """Runs the Python blocks of a page in the current folder, which must be on the import path."""

    def __init__(self, page: Page, runner: asyncio.Runner, module: ModuleType) -> None:
        self._page = page
        self._runner = runner
        self.names: dict[str, Any] = vars(module)

    def run(self) -> None:
        """Run all blocks; raises whatever a block raises, with a note that says which it was."""
        for block in self._page.blocks_of("python"):
            try:
                self._run(block)
            except Exception as error:
                error.add_note(f"in the block at {self._page}:{block.line}")
                raise

    def call(self, function: Callable[[], Any]) -> None:
        """Call a function of the page, and await what it returns if need be."""
        outcome = function()
        if inspect.isawaitable(outcome):
            self._runner.run(_finish(outcome))

    def _run(self, block: Block) -> None:
        if block.file is not None:
            self._import(block.file, block.code)
            return
        # The empty lines in front make tracebacks and `inspect` show the line of the page.
        source = "\n" * (block.line - 1) + block.code
        if _uses_ctx(block.code):
            self._run_body(source)
            return
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, str(self._page.path), "exec", flags=flags, dont_inherit=True)
        outcome = eval(code, self.names)  # noqa: S307 - the documentation is ours
        if code.co_flags & inspect.CO_COROUTINE:
            self._runner.run(_finish(outcome))

    def _run_body(self, source: str) -> None:
        tree = ast.parse("@orchestration\nasync def body(ctx: OrchestrationContext) -> None: ...")
        [function] = tree.body
        assert isinstance(function, ast.AsyncFunctionDef)
        statements = ast.parse(source).body
        imports = [each for each in statements if isinstance(each, ast.Import | ast.ImportFrom)]
        function.body = [each for each in statements if each not in imports]
        tree.body = [*ast.parse("from perdure import OrchestrationContext, orchestration").body, *imports, function]
        exec(compile(tree, str(self._page.path), "exec"), self.names)  # noqa: S102 - the documentation is ours
        body = self.names["body"]
        known = {id(each): each for each in self.names.values() if isinstance(each, Activity | Orchestration)}

        async def main() -> None:
            async with Environment(Registry(*known.values())) as env:
                await env.run(body)

        self._runner.run(_finish(main()))

    def _import(self, name: str, code: str) -> None:
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
        importlib.invalidate_caches()
        module_name = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        sys.modules.pop(module_name, None)
        module = importlib.import_module(module_name)
        self.names.update({name: value for name, value in vars(module).items() if not name.startswith("__")})


async def _finish(awaitable: Any) -> None:
    # A page that waits for what never comes, such as the result of a held instance, fails in time.
    async with asyncio.timeout(BLOCK_TIMEOUT_S):
        await awaitable


def _uses_ctx(code: str) -> bool:
    statements = [each for each in ast.parse(code).body if not isinstance(each, _SCOPES)]
    names = [node for each in statements for node in ast.walk(each) if isinstance(node, ast.Name)]
    return any(name.id == "ctx" for name in names)
