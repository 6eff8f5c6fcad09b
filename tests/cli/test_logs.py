"""How a record of a worker's log is written: on one line, whatever data is in it, with a stack below."""

import logging

from perdure.cli.logs import Lines

STACK = '  File "shop.py", line 7, in charge\n    while True: pass\n'


def written(message: str, *arguments: object) -> str:
    record = logging.LogRecord("perdure.runtime", logging.WARNING, "here.py", 1, message, arguments, None)
    return Lines("%(levelname)s %(origin)s: %(message)s").format(record)


def test_data_does_not_begin_a_line():
    assert (
        written("said %s", "a\nINFO forged: b\x1b[31m") == "WARNING perdure.runtime: said a\\nINFO forged: b\\x1b[31m"
    )


def test_a_stack_is_below_as_python_writes_one():
    assert (
        written("blocked. It is here:\n%s", STACK) == f"WARNING perdure.runtime: blocked. It is here:\n{STACK.rstrip()}"
    )


def test_nor_does_data_in_a_stack_obey_anything():
    assert written("It was here:\n%s\x1b[31m", STACK).endswith("while True: pass\n\\x1b[31m")
