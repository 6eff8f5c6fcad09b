"""Logging with a context: records that say which instance they come from, and the `trace_*` verbs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry where they come from (`instance_id` and so on), and which can be silent.

    Args:
        logger: The logger that gets the records.
        extra: The attributes of each record.
        is_silent: Asked at each record; an orchestration's logger says nothing while it replays.
    """

    def __init__(
        self, logger: logging.Logger, extra: Mapping[str, object], is_silent: Callable[[], bool] | None = None
    ) -> None:
        super().__init__(logger, extra)
        self._is_silent = is_silent

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        """Whether a record of this level would be written."""
        if self._is_silent is not None and self._is_silent():
            return False
        return super().isEnabledFor(level)

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Add the context's attributes to the caller's own `extra`, which logging's adapter would drop."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class Traces:
    """What both contexts have: four verbs over their `logger`, and an error with a cure for what they have not."""

    __slots__ = ()
    _is_of_activities: ClassVar[bool] = False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_") or hasattr(type(self), name):
                # Such as a slot that is empty, or a property that has failed.
                raise AttributeError(name)
            from perdure._context.mistaken import no_attribute  # noqa: PLC0415 - only mistakes need it

            raise no_attribute(self, name, is_activity=self._is_of_activities)

    if TYPE_CHECKING:

        @property
        def logger(self) -> logging.LoggerAdapter[logging.Logger]: ...

    def trace_debug(self, message: str, /, **fields: object) -> None:
        """Log `message` with named values, for the developer."""
        self._trace(logging.DEBUG, message, fields)

    def trace_info(self, message: str, /, **fields: object) -> None:
        """Log `message` with named values: `ctx.trace_info("charged", order=order.id)`."""
        self._trace(logging.INFO, message, fields)

    def trace_warn(self, message: str, /, **fields: object) -> None:
        """Log `message` with named values, as a warning."""
        self._trace(logging.WARNING, message, fields)

    def trace_error(self, message: str, /, **fields: object) -> None:
        """Log `message` with named values, as an error."""
        self._trace(logging.ERROR, message, fields)

    def _trace(self, level: int, message: str, fields: dict[str, object]) -> None:
        logger = self.logger
        if logger.isEnabledFor(level):
            text = " ".join([message, *(f"{name}={value}" for name, value in fields.items())])
            # Three frames up is the line that called ctx.trace_info(...). The text is no format: it may hold a "%".
            logger.log(level, text, extra={"fields": fields}, stacklevel=3)
