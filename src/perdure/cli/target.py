"""Finding the registry that `module:registry` names, and saying what is wrong when it is not there."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from importlib.util import find_spec
from typing import TYPE_CHECKING

from perdure import Activity, Orchestration, RegistrationError, Registry
from perdure.cli.exits import Refusal
from perdure.cli.store import did_you_mean

if TYPE_CHECKING:
    from types import ModuleType

DEFAULT_ATTRIBUTE = "registry"


def load_registry(target: str) -> Registry:
    """The registry that `module:attribute` names; the attribute is `registry` unless it is given.

    The current folder is on the import path, as it is for `python -m`.

    Raises:
        Refusal: There is none; the message says what is there instead.
    """
    module_name, _, attribute = target.partition(":")
    _check_shape(target, module_name)
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(module_name)
    value: object = module
    for part in (attribute or DEFAULT_ATTRIBUTE).split("."):
        value = getattr(value, part, None)
    if isinstance(value, Registry):
        return value
    raise Refusal(_no_registry(module, module_name, attribute or DEFAULT_ATTRIBUTE, value))


def _check_shape(target: str, module_name: str) -> None:
    if module_name.endswith(".py") or "/" in module_name:
        as_module = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise Refusal(f"{target!r} is a path: name the module, {as_module}:{DEFAULT_ATTRIBUTE}")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise Refusal(f"{target!r} names no module: write module:registry, as in shop.registry:registry")


def _import(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise Refusal(_no_module(module_name, error.name)) from error
        raise Refusal(_broken(module_name, error)) from error
    except RegistrationError as error:
        raise Refusal(f"{module_name} can't be used: {error}{_place(error)}") from error
    except (Exception, SystemExit) as error:
        raise Refusal(_broken(module_name, error)) from error


def _no_module(module_name: str, missing: str) -> str:
    folder = os.getcwd()
    with os.scandir(folder) as entries:
        names = [entry.name.removesuffix(".py") for entry in entries if entry.is_dir() or entry.name.endswith(".py")]
    hint = did_you_mean(missing, names)
    name = repr(module_name) if missing == module_name else f"{missing!r}, so no {module_name!r}"
    return f"there is no module {name} in {folder} or installed{hint}: start the worker where it can be imported"


def _broken(module_name: str, error: BaseException) -> str:
    what = traceback.format_exception_only(error)[-1].strip()
    return (
        f"importing {module_name} raised {what}{_place(error)}; `python -c 'import {module_name}'` shows the whole "
        "traceback"
    )


def _place(error: BaseException) -> str:
    """The innermost line of the user's own code."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", os.path.dirname(os.path.dirname(__file__))))
    ]
    if not frames or frames[-1].filename == importlib.__file__:
        return ""
    return f" ({os.path.relpath(frames[-1].filename)}:{frames[-1].lineno})"


def _no_registry(module: ModuleType, module_name: str, attribute: str, value: object) -> str:
    registries = [name for name, each in vars(module).items() if isinstance(each, Registry)]
    if isinstance(value, Activity | Orchestration):
        what = f"is {value!r} and no Registry"
    elif value is None:
        what = "is not there"
    else:
        what = f"is a {type(value).__name__} and no Registry"
    if registries:
        cure = f"the registries in that module are {', '.join(f'{module_name}:{name}' for name in registries)}"
    elif hasattr(module, "__path__") and find_spec(f"{module_name}.{DEFAULT_ATTRIBUTE}") is not None:
        cure = f"did you mean {module_name}.{DEFAULT_ATTRIBUTE}:{DEFAULT_ATTRIBUTE}?"
    else:
        cure = f"write `{DEFAULT_ATTRIBUTE} = Registry(...)` in it"
    return f"{module_name}:{attribute} {what}: {cure}"
