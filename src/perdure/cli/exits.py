"""How the command ends when it does not end well: a number for scripts, one sentence for people."""

import click

DONE = 0
FAILED = 1
MISUSED = 2
NO_RESULT = 3
NOT_ENDED = 4
INTERRUPTED = 130


class Refusal(click.ClickException):
    """What was asked for can't be done; the message says why and what to do next."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.status = exit_code
