"""The public surface: what `__all__` lists exists, is documented, and is all there is."""

import ast
import builtins
import dataclasses
import inspect
import itertools
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

import perdure
import perdure.observability.prometheus
import perdure.testing
from perdure import errors

MODULES = (perdure, perdure.testing, perdure.observability.prometheus)

# Names of the surface that are no classes or functions: nothing to document beside their line in the source.
ALIASES = {"CancelPolicy", "ClosePolicy", "Decision", "Duration", "OnConflict", "Verdict"}

# The verbs that users meet first: each shows how it is written.
WITH_EXAMPLE = {
    perdure.activity,
    perdure.orchestration,
    perdure.run,
    perdure.Registry,
    perdure.RetryPolicy,
    perdure.Backoff,
    perdure.ExternalEvent,
    perdure.Runtime,
    perdure.Runtime.serve,
    perdure.Client,
    perdure.SyncClient,
    perdure.OrchestrationHandle.watch,
    perdure.OrchestrationContext.schedule_activity,
    perdure.OrchestrationContext.schedule_sub_orchestration,
    perdure.OrchestrationContext.schedule_orchestration,
    perdure.OrchestrationContext.schedule_timer,
    perdure.OrchestrationContext.schedule_wait,
    perdure.OrchestrationContext.select2,
    perdure.testing.Environment,
    perdure.testing.activity_context,
}


def public_names() -> list[tuple[types.ModuleType, str]]:
    return [(module, name) for module in MODULES for name in module.__all__]


def classes() -> list[type]:
    found = [getattr(module, name) for module, name in public_names()]
    return sorted({each for each in found if isinstance(each, type)}, key=lambda each: each.__qualname__)


def members_of(cls: type) -> list[tuple[str, object]]:
    """What users see of a class: its own and inherited public methods and properties, but for those of Python's."""
    found = []
    for name in dir(cls):
        owner = next((each for each in cls.__mro__ if name in vars(each)), None)
        if name.startswith("_") or owner is None or not owner.__module__.startswith("perdure"):
            continue
        member = inspect.getattr_static(cls, name)
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if isinstance(member, property | types.FunctionType):
            found.append((name, member))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_is_listed_exists_once_and_in_order(module):
    for name in module.__all__:
        assert hasattr(module, name), name
    assert len(module.__all__) == len(set(module.__all__))
    assert module.__all__ == sorted(module.__all__, key=_as_ruff_sorts)


def _as_ruff_sorts(name: str) -> tuple[bool, bool, str]:
    return (not name.isupper(), not name[0].isupper(), name)


def test_what_exists_is_listed():
    hidden = {
        name
        for name, value in vars(perdure).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert hidden - set(perdure.__all__) <= {"TYPE_CHECKING"}
    assert sorted(dir(perdure)) == sorted(perdure.__all__)


def test_a_star_import_brings_the_surface_and_nothing_else():
    code = "before = set(globals())\nfrom perdure import *\nprint(*sorted(set(globals()) - before - {'before'}))"
    names = _python(code).split()
    assert names == sorted(perdure.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'perdure' has no attribute 'Workflow'"):
        _ = perdure.Workflow


def test_every_error_is_exported_and_belongs_to_one_tree():
    found = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and not name.startswith("_")
    }
    assert set(found) <= set(perdure.__all__)
    for name, value in found.items():
        assert issubclass(value, perdure.PerdureError), name
        assert name.endswith("Error") or name == "RetryAfter"
        assert f" {name}" in str(errors.__doc__), f"{name} is missing from the tree in the errors' docstring"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (perdure.ActivityTimeoutError, TimeoutError),
        (perdure.ResultTimeoutError, TimeoutError),
        (perdure.InstanceNotFoundError, LookupError),
        (perdure.PayloadError, ValueError),
    ],
)
def test_errors_that_python_has_a_word_for_are_caught_by_it(error, builtin):
    assert issubclass(error, builtin)


def test_no_name_of_the_surface_hides_a_builtin():
    assert not set(perdure.__all__) & set(dir(builtins))


@pytest.mark.parametrize(("module", "name"), public_names(), ids=lambda value: getattr(value, "__name__", value))
def test_everything_public_says_what_it_is(module, name):
    if name in ALIASES or name == "__version__":
        return
    doc = inspect.getdoc(getattr(module, name))
    assert doc, name
    assert doc[0].isupper() or doc[0] in "`'", doc
    assert doc.splitlines()[0].rstrip().endswith((".", ":", ",", ";")) or len(doc.splitlines()) > 1, doc


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_every_public_method_and_property_says_what_it_does(cls):
    missing = [name for name, member in members_of(cls) if not inspect.getdoc(member)]
    if issubclass(cls, types.GenericAlias) or dataclasses.is_dataclass(cls):
        assert inspect.getdoc(cls)
    assert not missing, f"{cls.__name__}: {', '.join(missing)}"


@pytest.mark.parametrize(
    "thing", sorted(WITH_EXAMPLE, key=lambda each: each.__qualname__), ids=lambda t: t.__qualname__
)
def test_the_first_verbs_show_how_they_are_written(thing):
    doc = inspect.getdoc(thing) or ""
    assert "Example" in doc or ">>>" in doc or ": `" in doc or "= ExternalEvent" in doc, thing.__qualname__


def test_the_version_is_the_packages_own():
    assert perdure.__version__.count(".") == 2


def test_importing_it_loads_no_backend_no_optional_package_and_nothing_slow():
    code = "import sys, perdure\nprint(*sys.modules)"
    loaded = set(_python(code).split())
    assert not loaded & {"apsw", "sqlite3", "pydantic", "uvloop", "random", "concurrent.futures.thread"}
    assert "perdure._runtime" not in loaded


def test_the_package_is_marked_as_typed():
    assert Path(perdure.__file__).with_name("py.typed").exists()


def test_every_public_class_is_found_where_it_says():
    for cls in classes():
        module = sys.modules[cls.__module__]
        assert getattr(module, cls.__name__) is cls


def test_the_docstrings_examples_are_python():
    broken = []
    for module, name in public_names():
        thing = getattr(module, name)
        for each in [thing, *(member for _, member in members_of(thing))] if isinstance(thing, type) else [thing]:
            doc = inspect.getdoc(each) or ""
            _, found, example = doc.partition("Example:\n")
            if not found or ">>>" in example:
                continue
            lines = itertools.takewhile(lambda line: line.startswith("    ") or not line.strip(), example.splitlines())
            try:
                compile(textwrap.dedent("\n".join(lines)), "<example>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            except SyntaxError as error:
                broken.append(f"{name}: {error}")
    assert not broken, broken


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout
