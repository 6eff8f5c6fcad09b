"""The errors of instances that are not where, or not what, those who ask for something think."""

from perdure.errors import ClientError, InstanceNotFoundError, _InstanceError


class InstanceMovedError(_InstanceError):
    """The instance goes on in another store; `place` is which."""

    __module__ = "perdure.errors"

    def __init__(self, instance_id: str, place: str | None = None) -> None:
        super().__init__(instance_id, place)
        self.place = place

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} has moved to {self.place or 'another store'}: ask for it there"


class InstanceComingError(_InstanceError):
    """What has the id is a copy of an instance of another store, whose move is not done; it was told nothing."""

    __module__ = "perdure.errors"

    def __str__(self) -> str:
        return (
            f"instance {self.instance_id!r} is coming from another store, and its move is not done, so it was told "
            "nothing here: tell it in the store that it comes from, or call the move again and then tell it here"
        )


class InstanceReplacedError(InstanceNotFoundError):
    """The instance that a handle is of was deleted or replaced, and another one has its id: that has heard nothing."""

    __module__ = "perdure.errors"

    def __str__(self) -> str:
        return (
            f"the instance {self.instance_id!r} of this handle is no longer there, and another one has its id, which "
            f"was told nothing: client.get_handle({self.instance_id!r}) is a handle on that"
        )


class NotHeldError(_InstanceError):
    """Neither the instance nor the activity in question is held, and the request needs that."""

    __module__ = "perdure.errors"

    def __str__(self) -> str:
        return f"nothing of instance {self.instance_id!r} that was asked for is held: look at its status again"


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
