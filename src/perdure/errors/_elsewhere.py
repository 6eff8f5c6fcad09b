"""The errors of instances that go to another store, or back in their history."""

from perdure.errors import ClientError, _InstanceError


class InstanceMovedError(_InstanceError):
    """The instance goes on in another store; `place` is which."""

    __module__ = "perdure.errors"

    def __init__(self, instance_id: str, place: str | None = None) -> None:
        super().__init__(instance_id, place)
        self.place = place

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} has moved to {self.place or 'another store'}: ask for it there"


class RewindError(_InstanceError):
    """The instance can't go back, or be forked, where that was asked for; nothing was changed. `why` is in the way."""

    __module__ = "perdure.errors"

    def __init__(self, instance_id: str, why: str, what: str = "go back") -> None:
        super().__init__(instance_id, why, what)
        self.why = why
        self._what = what

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} can't {self._what}: {self.why}"


class ExportFileError(ClientError):
    """The file is no export of instances, or was damaged or changed; nothing of it was written.

    `line` counts from 1.
    """

    __module__ = "perdure.errors"

    def __init__(self, line: int, why: str) -> None:
        super().__init__(line, why)
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"line {self.line} of the export {self.why}: export again, or get an undamaged copy; nothing was written"
