"""Finds clocks, chance and blocking calls in orchestration code while it runs, on Python 3.12 and newer.

On Python 3.11 only tests can afford it, by `sys.setprofile`.

`sys.monitoring` reports the calls that the code of registered orchestrations makes, and that functions of the same
packages make which they call. Libraries are not looked into: what `logging` does with a clock is its own affair. Each
place that calls is looked at once, and then costs nothing. What this misses (a clock that is handed to `map`, a default
factory, a place that calls something else each time) is for replay to find.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from datetime import date
from threading import Lock
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure._core.loop import OrchestrationLoop
from perdure.errors import ForbiddenCallError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure._definitions import Orchestration

TOOL_IDS = (3, 4)
"""The ids that Python leaves to tools without a name of their own."""

# Python 3.11 has none.
_monitoring: Any = getattr(sys, "monitoring", None)

_CLOCK = "A replay would see another time: use ctx.utc_now(), or measure in an activity."
_SLEEP = "It would stop every other orchestration: write `await asyncio.sleep(...)`, a durable timer."
_CHANCE = "A replay would draw another value: use ctx.random."
_GUID = "A replay would draw another value: use ctx.new_guid()."
_KEY = "A replay would draw another value: draw it in an activity."
_WORLD = "A replay would do it again: do it in an activity and await ctx.schedule_activity(...)."

_CURES: dict[str, dict[str, tuple[str, ...]]] = {
    _CLOCK: {
        "time": ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"),
    },
    _SLEEP: {"time": ("sleep",)},
    _CHANCE: {"random": ("SystemRandom",)},
    _GUID: {"uuid": ("uuid1", "uuid4", "uuid6", "uuid7")},
    _KEY: {
        "posix": ("urandom", "getrandom"),
        "nt": ("urandom",),
        "secrets": ("token_bytes", "token_hex", "token_urlsafe", "randbelow"),
    },
    _WORLD: {
        "_io": ("open",),
        "io": ("open",),
        "builtins": ("input",),
        "posix": ("open", "system"),
        "nt": ("open", "system"),
        "subprocess": ("Popen", "run", "call", "check_call", "check_output"),
        "pathlib": ("Path.open", "Path.read_text", "Path.read_bytes", "Path.write_text", "Path.write_bytes"),
        "threading": ("Thread.start",),
        "socket": ("create_connection",),
        "urllib.request": ("urlopen",),
        "_sqlite3": ("connect",),
        "pathlib._local": ("Path.open", "Path.read_text", "Path.read_bytes", "Path.write_text", "Path.write_bytes"),
    },
}
_FORBIDDEN = {
    (module, name): cure for cure, modules in _CURES.items() for module, names in modules.items() for name in names
}
# Without an argument these read the clock, or seed themselves from the system.
_FORBIDDEN_WITHOUT_ARGUMENT = {
    ("time", "localtime"): _CLOCK,
    ("time", "gmtime"): _CLOCK,
    ("time", "ctime"): _CLOCK,
    ("random", "Random"): _CHANCE,
}
_READ_THE_CLOCK = ("now", "utcnow", "today")

# Nothing here asks a user's object for an attribute: it may be a proxy that answers to anything.
_CALLABLES = (BuiltinFunctionType, FunctionType, MethodType, type)


class Guard:
    """Watches orchestrations from `watch` to `close`; several guards of one process share its eyes.

    Attributes:
        active: Whether this process can be watched: Python is new enough, and one of the tool ids was free.
    """

    def __init__(self) -> None:
        self.active = _monitor.open()

    def watch(self, definitions: Iterable[Orchestration[..., Any]]) -> None:
        """Watch these orchestrations, too; the ones that are watched already are left as they are."""
        if self.active:
            for definition in definitions:
                _monitor.watch(definition.fn)

    def close(self) -> None:
        """Watch no more; the last guard of the process gives the tool id back. Closing twice does no harm."""
        if self.active:
            self.active = False
            _monitor.close()


class Profiler:
    """The same for tests on Python 3.11, which has no cheap way: looks at every call of a turn.

    Args:
        definitions: The orchestrations to watch, with all code of their packages.
    """

    def __init__(self, definitions: Iterable[Orchestration[..., Any]]) -> None:
        self._packages = {_package(definition.fn) for definition in definitions} - {"perdure"}

    def begin(self) -> None:
        """A turn begins on this thread; whoever else profiles it goes first."""
        if sys.getprofile() is None:
            sys.setprofile(self._called)

    def end(self) -> None:
        """The turn is over."""
        if sys.getprofile() == self._called:
            sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            if self._is_watched(frame):
                _offend(_judge(called, None), frame)
        elif event == "call" and frame.f_back is not None and self._is_watched(frame.f_back):
            _offend(_judge_frame(frame), frame.f_back)

    def _is_watched(self, caller: FrameType) -> bool:
        return str(caller.f_globals.get("__name__")).partition(".")[0] in self._packages


class _Finding(NamedTuple):
    call: str
    cure: str


def _offend(finding: _Finding | None, caller: FrameType) -> None:
    """Refuse a call in a turn of an orchestration, where it is made."""
    loop = asyncio._get_running_loop()
    if finding is not None and isinstance(loop, OrchestrationLoop) and loop.over is None:
        code = caller.f_code
        loop.offend(
            ForbiddenCallError(
                f"{finding.call}() was called in an orchestration, in {code.co_qualname} "
                f"({code.co_filename}:{caller.f_lineno}). {finding.cure}"
            )
        )


class _Monitor:
    """The process's one tool of `sys.monitoring`, with the code that it watches."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._guards = 0
        self._tool: int | None = None
        # By identity: two functions may have equal code.
        self._watched: dict[int, CodeType] = {}
        self._packages: set[str] = set()

    def open(self) -> bool:
        with self._lock:
            if self._guards == 0:
                self._tool = self._begin()
            if self._tool is not None:
                self._guards += 1
            return self._tool is not None

    def close(self) -> None:
        with self._lock:
            self._guards -= 1
            if self._guards == 0 and self._tool is not None:
                for code in self._watched.values():
                    _monitoring.set_local_events(self._tool, code, 0)
                _monitoring.register_callback(self._tool, _monitoring.events.CALL, None)
                _monitoring.free_tool_id(self._tool)
                self._tool = None
                self._watched.clear()
                self._packages.clear()

    def watch(self, function: Any) -> None:
        """Watch a function and the functions inside it, and follow it into others of its package."""
        package = _package(function)
        if package != "perdure":
            self._packages.add(package)
        self._watch_code(function.__code__)
        wrapped = getattr(function, "__wrapped__", None)
        if isinstance(wrapped, FunctionType):
            self.watch(wrapped)

    def _begin(self) -> int | None:
        if _monitoring is None:
            return None
        for tool in TOOL_IDS:
            if _monitoring.get_tool(tool) is None:
                _monitoring.use_tool_id(tool, "perdure")
                _monitoring.register_callback(tool, _monitoring.events.CALL, self._called)
                return tool
        return None

    def _watch_code(self, code: CodeType) -> None:
        if id(code) in self._watched or self._tool is None:
            return
        self._watched[id(code)] = code
        _monitoring.set_local_events(self._tool, code, _monitoring.events.CALL)
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                self._watch_code(inner)

    def _called(self, _code: CodeType, _offset: int, called: Any, first_argument: object) -> object:
        """A watched place is about to call something; what this raises, appears there."""
        finding = _judge(called, first_argument)
        if finding is None:
            self._follow(called)
            return _monitoring.DISABLE
        _offend(finding, sys._getframe(1))
        # Activities may share this function: it stays watched.
        return None

    def _follow(self, called: Any) -> None:
        function: Any = _unwrapped(called)
        if isinstance(function, type):
            function = function.__dict__.get("__init__")
        elif isinstance(function, MethodType):
            function = function.__func__
        if isinstance(function, FunctionType) and _package(function) in self._packages:
            self._watch_code(function.__code__)


_monitor = _Monitor()


def _package(function: Any) -> str:
    return str(function.__globals__.get("__name__", "")).partition(".")[0]


def _unwrapped(called: Any) -> Any:
    while type(called) is functools.partial:
        called = called.func
    return called


def _judge(called: Any, first_argument: object) -> _Finding | None:
    """What is wrong with calling this, or None."""
    called = _unwrapped(called)
    if not isinstance(called, _CALLABLES):
        return None
    function = called.__func__ if isinstance(called, MethodType) else called
    module, name = function.__module__, function.__qualname__
    cure = _FORBIDDEN.get((module, name))
    if cure is None and _monitoring is not None and first_argument is _monitoring.MISSING:
        cure = _FORBIDDEN_WITHOUT_ARGUMENT.get((module, name))
    if cure is not None:
        return _Finding(f"{_shown(module)}.{name}", cure)
    return _judge_method(getattr(called, "__self__", None), function.__name__)


def _judge_method(owner: Any, name: str) -> _Finding | None:
    if isinstance(owner, type):
        clock = name in _READ_THE_CLOCK and issubclass(owner, date)
        return _Finding(f"{owner.__name__}.{name}", _CLOCK) if clock else None
    # Only code that has imported it can call the module's own functions: methods of an instance that it keeps.
    random: Any = sys.modules.get("random")
    if random is not None and (owner is random._inst or isinstance(owner, random.SystemRandom)):  # noqa: SLF001 - see above
        return _Finding(f"random.{name}", _CHANCE)
    return None


def _judge_frame(frame: FrameType) -> _Finding | None:
    """The same for a function in Python that has just been entered."""
    module, name = str(frame.f_globals.get("__name__")), frame.f_code.co_qualname
    cure = _FORBIDDEN.get((module, name))
    if cure is not None:
        return _Finding(f"{_shown(module)}.{name}", cure)
    if module != "random":
        return None
    drawn_from = frame.f_locals.get("self")
    if name == "Random.__init__" and frame.f_locals.get("x") is None:
        return _Finding(f"random.{type(drawn_from).__name__}", _CHANCE)
    return _judge_method(drawn_from, frame.f_code.co_name)


def _shown(module: str) -> str:
    """The module that people import, for one that only implements it."""
    shown = {"posix": "os", "nt": "os", "_io": "io", "_sqlite3": "sqlite3", "pathlib._local": "pathlib"}
    return shown.get(module, module)
