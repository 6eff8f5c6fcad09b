"""The errors of instances that go to another store."""

from perdure.errors import ClientError, _InstanceError


class InstanceMovedError(_InstanceError):
    """The instance goes on in another store; `place` is which."""

    __module__ = "perdure.errors"

    def __init__(self, instance_id: str, place: str | None = None) -> None:
        super().__init__(instance_id, place)
        self.place = place

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} has moved to {self.place or 'another store'}: ask for it there"


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
