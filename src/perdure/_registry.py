"""The one central place of registration: what a worker can run, by name and version.

A registry is complete and checked when it is made, and never changes: a clash of names, a type that can't be found or
can't be JSON is an error at the line that registers, not at three in the morning.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure._definitions import Activity, Orchestration, version_key
from perdure.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LATEST = "latest"
"""The version policy of a name that is not pinned."""

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]

_SUGGESTIONS_MAX = 3


class LifespanScope:
    """The lifespan of one registry; compared by identity, as each registry's lifespan is entered once per worker."""

    __slots__ = ("lifespan",)

    def __init__(self, lifespan: Lifespan) -> None:
        self.lifespan = lifespan

    def __repr__(self) -> str:
        return f"<lifespan {getattr(self.lifespan, '__qualname__', self.lifespan)}>"


class Registry:
    """What a worker can run: activities, and orchestrations in all their versions.

    Args:
        *items: Definitions; modules, for what is defined in them (not for what they import); instances, for their
            `@activity` methods; other registries. The same definition twice is one.
        lifespan: An async context manager that a worker enters before it runs the activities of this registry and
            leaves when it stops; what it yields is theirs by `ctx.state(Type)`. The activities of a registry among the
            items that has a lifespan of its own keep that one.
        version_policy: The versions that new executions get, by orchestration name: an exact version, or "latest"
            (the default of all names). Overrides the policies of the registries among the items.

    Raises:
        RegistrationError: Two definitions have one name (and version), an item is none of these, an annotation can't
            be evaluated or its type can't be JSON, a policy names what is not registered.

    Example:
        registry = Registry(charge, refund, checkout, Payments(pool), lifespan=connections)
    """

    def __init__(
        self,
        *items: object,
        lifespan: Lifespan | None = None,
        version_policy: Mapping[str, str] | None = None,
    ) -> None:
        if lifespan is not None and not callable(lifespan):
            raise RegistrationError(
                f"lifespan is {lifespan!r}: pass the function that @asynccontextmanager decorates, without calling it"
            )
        if inspect.isasyncgenfunction(lifespan) or (hasattr(lifespan, "__aenter__") and not isinstance(lifespan, type)):
            raise RegistrationError(
                f"lifespan is {lifespan!r}, which can't be entered by each worker anew: decorate a function with "
                "@asynccontextmanager, and pass it without calling it"
            )
        self._scope = None if lifespan is None else LifespanScope(lifespan)
        self._scopes: list[LifespanScope] = []
        self._activities: dict[str, Activity[..., Any]] = {}
        self._activity_scopes: dict[str, LifespanScope] = {}
        self._orchestrations: dict[str, dict[str, Orchestration[..., Any]]] = {}
        self._policy: dict[str, str] = {}
        for item in items:
            self._add(item)
        if self._scope is not None:
            self._scopes.append(self._scope)
        self._activity_aliases = _aliases("activity", self._activities, self._activities.values())
        self._orchestration_aliases = _aliases(
            "orchestration",
            self._orchestrations,
            (each for versions in self._orchestrations.values() for each in versions.values()),
        )
        for name, versions in self._orchestrations.items():
            if len(versions) == 1:
                continue
            self._orchestrations[name] = dict(sorted(versions.items(), key=lambda each: version_key(each[0])))
        self._policy.update(version_policy or {})
        self._check_policy()

    @property
    def activities(self) -> Mapping[str, Activity[..., Any]]:
        """The activities by name."""
        return MappingProxyType(self._activities)

    @property
    def orchestrations(self) -> Mapping[str, Mapping[str, Orchestration[..., Any]]]:
        """The orchestrations by name and version, the versions from the oldest to the latest."""
        return MappingProxyType(self._orchestrations)

    @property
    def activity_aliases(self) -> Mapping[str, str]:
        """The activities' former names, with the names of today."""
        return MappingProxyType(self._activity_aliases)

    @property
    def orchestration_aliases(self) -> Mapping[str, str]:
        """The orchestrations' former names, with the names of today."""
        return MappingProxyType(self._orchestration_aliases)

    @property
    def lifespans(self) -> tuple[LifespanScope, ...]:
        """The lifespans of this registry and of those it is composed of; enter them in this order."""
        return tuple(self._scopes)

    @property
    def version_policy(self) -> Mapping[str, str]:
        """The pinned versions by orchestration name."""
        return MappingProxyType(self._policy)

    def activity(self, name: str) -> Activity[..., Any] | None:
        """The activity of this name or former name, or None."""
        known = self._activities
        return known.get(name) or known.get(self._activity_aliases.get(name, ""))

    def orchestration(self, name: str, version: str | None = None) -> Orchestration[..., Any] | None:
        """The orchestration of this name or former name, or None.

        Without a version it is the one for new executions: the pinned one, else the latest.
        """
        name = name if name in self._orchestrations else self._orchestration_aliases.get(name, "")
        versions = self._orchestrations.get(name)
        if versions is None:
            return None
        if version is None:
            version = self._policy.get(name, LATEST)
        return versions[next(reversed(versions))] if version == LATEST else versions.get(version)

    def lifespan_of(self, activity_name: str) -> LifespanScope | None:
        """The lifespan whose state an activity sees: its registry's own, else that of the nearest one around it."""
        activity = self.activity(activity_name)
        return None if activity is None else self._activity_scopes.get(activity.name)

    def __repr__(self) -> str:
        versions = sum(len(each) for each in self._orchestrations.values())
        return f"<Registry of {len(self._activities)} activities and {versions} orchestrations>"

    def _add(self, item: object) -> None:
        match item:
            case Activity():
                self._add_activity(item, self._scope)
            case Orchestration():
                self._add_orchestration(item)
            case Registry():
                self._add_registry(item)
            case ModuleType():
                self._add_all(_defined_in(item), f"module {item.__name__}", "What it only imports does not count")
            case type():
                raise RegistrationError(
                    f"{item.__qualname__} is a class, and its activities need an instance: "
                    f"register {item.__qualname__}(...)"
                )
            case list() | tuple() | set() | frozenset():
                raise RegistrationError(f"a {type(item).__name__} was given as one item: write Registry(*items)")
            case _ if (hidden := _hidden_in(item)) is not None:
                raise RegistrationError(
                    f"{item!r} is what a decorator made of {hidden!r}: write @activity or @orchestration above it"
                )
            case _ if inspect.isroutine(item):
                raise RegistrationError(f"{item!r} is a bare function: decorate it with @activity or @orchestration")
            case _:
                self._add_all(
                    _methods_of(item),
                    f"an instance of {type(item).__qualname__}",
                    "Register definitions, modules, instances with @activity methods, or registries, each by itself",
                )

    def _add_all(self, definitions: Iterable[object], what: str, cure: str) -> None:
        found = list(definitions)
        if not found:
            raise RegistrationError(f"there is no activity or orchestration in {what}. {cure}")
        for each in found:
            self._add(each)

    def _add_activity(self, activity: Activity[..., Any], scope: LifespanScope | None) -> None:
        name = activity.name
        if activity.needs_instance:
            raise RegistrationError(
                f"activity {name} is a method that was taken from its class: register an instance of the class"
            )
        known = self._activities.setdefault(name, activity)
        if known is activity:
            activity.resolve()
        elif not known.is_same(activity):
            raise RegistrationError(_clash(f"two activities are named {name!r}", known, activity))
        if scope is not None and self._activity_scopes.setdefault(name, scope) is not scope:
            raise RegistrationError(
                f"activity {name} is registered under two lifespans, {self._activity_scopes[name]!r} and {scope!r}: "
                "which state would it see? Register it once"
            )

    def _add_orchestration(self, orchestration: Orchestration[..., Any]) -> None:
        name, version = orchestration.name, orchestration.version
        known = self._orchestrations.setdefault(name, {}).setdefault(version, orchestration)
        if known is not orchestration:
            raise RegistrationError(
                _clash(f"two orchestrations are named {name!r} in version {version}", known, orchestration)
            )
        orchestration.resolve()

    def _add_registry(self, registry: Registry) -> None:
        for activity in registry.activities.values():
            self._add_activity(activity, registry.lifespan_of(activity.name) or self._scope)
        for versions in registry.orchestrations.values():
            for orchestration in versions.values():
                self._add_orchestration(orchestration)
        self._scopes.extend(scope for scope in registry.lifespans if scope not in self._scopes)
        self._policy.update(registry.version_policy)

    def _check_policy(self) -> None:
        for name, version in self._policy.items():
            versions = self._orchestrations.get(name)
            if versions is None:
                near = _or_near(name, [*self._orchestrations, *self._orchestration_aliases])
                raise RegistrationError(f"version_policy pins {name!r}, which is not registered{near}")
            if version != LATEST and version not in versions:
                raise RegistrationError(
                    f"version_policy pins {name!r} to {version!r}; registered are {', '.join(versions)}, or 'latest'"
                )


def _defined_in(module: ModuleType) -> list[object]:
    values = list(vars(module).values())
    found: dict[Any, object] = {each: each for each in values if isinstance(each, Activity | Orchestration)}
    for each in values:
        # A wrapper beside a definition that has a name of its own in the module is no mistake.
        if (hidden := _hidden_in(each)) is not None:
            found.setdefault(hidden, each)
    return [each for definition, each in found.items() if definition.fn.__module__ == module.__name__]


def _hidden_in(value: object) -> Activity[..., Any] | Orchestration[..., Any] | None:
    """The definition that a decorator above ours has wrapped by `functools.wraps`."""
    hidden = vars(value).get("__wrapped__") if inspect.isfunction(value) else None
    return hidden if isinstance(hidden, Activity | Orchestration) else None


def _methods_of(instance: object) -> Iterator[object]:
    for name in dir(type(instance)):
        definition = inspect.getattr_static(type(instance), name, None)
        if isinstance(definition, Activity) and definition.needs_instance:
            yield definition.__get__(instance)


def _aliases(
    kind: str, names: Mapping[str, object], definitions: Iterable[Activity[..., Any] | Orchestration[..., Any]]
) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for definition in definitions:
        for alias in definition.aliases:
            taken = alias if alias in names else aliases.setdefault(alias, definition.name)
            if taken != definition.name:
                raise RegistrationError(
                    f"{alias!r} is an alias of {kind} {definition.name!r}, and belongs to {taken!r} too: remove one"
                )
    return {alias: name for alias, name in aliases.items() if alias not in names}


def _clash(what: str, *definitions: Activity[..., Any] | Orchestration[..., Any]) -> str:
    places = " and ".join(f"{each.fn.__module__}.{each.fn.__qualname__}" for each in definitions)
    return f"{what}: {places}. Rename a function, pass name= to one decorator, or give it another version"


def _or_near(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only errors need it

    near = get_close_matches(name, names, _SUGGESTIONS_MAX)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def runnable(registry: Registry) -> list[str]:
    """The orchestrations of a registry as "name@version", under all the names that they have had."""
    current = {name: name for name in registry.orchestrations} | dict(registry.orchestration_aliases)
    return [f"{known}@{version}" for known, name in current.items() for version in registry.orchestrations[name]]
