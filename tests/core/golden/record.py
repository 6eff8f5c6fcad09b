"""Record the golden histories of the Python that runs this: `python -m tests.core.golden.record`.

Only for a program or a version of Python that has none yet: what is recorded stays as it is.
"""

import sys
from pathlib import Path

import msgspec

from perdure import _events as ev
from tests.core.golden.programs import SCRIPTS, play
from tests.core.harness import Conversation

FOLDER = Path(__file__).parent


def main() -> None:
    """Add what is missing to the file of this Python's minor version."""
    path = FOLDER / f"python-{sys.version_info.major}.{sys.version_info.minor}.json"
    recorded = read(path) if path.exists() else {}
    for program, steps in SCRIPTS.items():
        if program.name not in recorded:
            recorded[program.name] = [ev.encode_events(turn) for turn in play(Conversation(program), steps).turns]
    path.write_bytes(_lines(recorded))


def read(path: Path) -> dict[str, list[bytes]]:
    """The histories of a file: for each program the bytes of each turn."""
    histories = msgspec.json.decode(path.read_bytes(), type=dict[str, list[msgspec.Raw]])
    return {name: [bytes(turn) for turn in turns] for name, turns in histories.items()}


def _lines(recorded: dict[str, list[bytes]]) -> bytes:
    """One line for each turn, so that a difference shows where it is."""
    histories = [
        b" " + msgspec.json.encode(name) + b": [\n  " + b",\n  ".join(turns) + b"\n ]"
        for name, turns in recorded.items()
    ]
    return b"{\n" + b",\n".join(histories) + b"\n}\n"


if __name__ == "__main__":
    main()
