"""A disk that writes down what SQLite does to it, and the states in which a power cut could leave it.

What was synced is there. What was written since then, file by file, is there, or not, or torn between sectors of 512
bytes, each write by itself: a disk may put off and reorder what nobody has told it to keep.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

REAL = apsw.vfs_names()[0]
SECTOR_BYTES = 512


@dataclass(frozen=True)
class Write:
    """Bytes at a place in a file; `data` None cuts or extends the file to that place, or removes it when negative."""

    name: str
    at: int
    data: bytes | None = None


@dataclass(frozen=True)
class Sync:
    """All that was written to the file is on the disk when this has returned."""

    name: str


@dataclass(frozen=True)
class Acknowledged:
    """A call of storage has returned; from here on its caller believes it."""

    call: int


Step = Write | Sync | Acknowledged
Files = dict[str, bytes]
"""The contents of the files of one folder."""


class RecordingDisk(apsw.VFS):
    """The machine's disk, which keeps a log of what is done to it."""

    def __init__(self) -> None:
        self.log: list[Step] = []
        super().__init__("recording disk", REAL, makedefault=True)

    def xOpen(  # noqa: N802 - SQLite's name for it
        self, name, flags
    ):
        return _RecordingFile(self.log, name, flags)

    def xDelete(  # noqa: N802 - SQLite's name for it
        self, filename, syncdir
    ):
        self.log.append(Write(Path(filename).name, -1))
        super().xDelete(filename, syncdir)


class _RecordingFile(apsw.VFSFile):
    def __init__(self, log, name, flags):
        self._log = log
        self._name = Path(name.filename()).name if isinstance(name, apsw.URIFilename) else Path(name).name
        super().__init__(REAL, name, flags)

    def xWrite(  # noqa: N802 - SQLite's name for it
        self, data, offset
    ):
        self._log.append(Write(self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(  # noqa: N802 - SQLite's name for it
        self, newsize
    ):
        self._log.append(Write(self._name, newsize))
        super().xTruncate(newsize)

    def xSync(  # noqa: N802 - SQLite's name for it
        self, flags
    ):
        super().xSync(flags)
        self._log.append(Sync(self._name))


@dataclass
class PowerCut:
    """What one power cut left: the files, what had been acknowledged by then, and how it came about."""

    files: Files
    acknowledged: int
    position: int
    how: str


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)

    def sync(self) -> None:
        for write in self.pending:
            _apply(self.durable, write)
        self.pending.clear()


def power_cuts(log: list[Step], *, mixes: int, seed: int, every: int = 1) -> Iterator[PowerCut]:
    """The states after the steps of a log: what was synced, all that was written, and some mixes of the rest.

    Args:
        log: What was done to the disk.
        mixes: How many mixes of kept, dropped and torn writes at each position.
        seed: Chooses them.
        every: Only about one of so many positions, chosen by the seed.
    """
    dice = random.Random(seed)  # noqa: S311 - the same for the same seed
    files: dict[str, _File] = {}
    acknowledged = -1
    for position, step in enumerate(log):
        match step:
            case Acknowledged(call):
                acknowledged = call
            case Sync(name):
                files.setdefault(name, _File()).sync()
            case Write(name):
                files.setdefault(name, _File()).pending.append(step)
        if every > 1 and dice.randrange(every):
            continue
        for how in ("synced", "all", *(f"mix {number}" for number in range(mixes))):
            left = {name: _left(file, how, dice) for name, file in files.items()}
            yield PowerCut({name: data for name, data in left.items() if data}, acknowledged, position, how)


def _left(file: _File, how: str, dice: random.Random) -> bytes:
    content = bytearray(file.durable)
    if how == "synced":
        return bytes(content)
    for write in file.pending:
        if how == "all" or dice.random() < 0.5:
            _apply(content, write)
        elif write.data is not None and dice.random() < 0.5:
            for part in _sectors(write):
                if dice.random() < 0.5:
                    _apply(content, part)
    return bytes(content)


def _sectors(write: Write) -> Iterator[Write]:
    """A write in pieces that end where sectors do."""
    data, at = write.data or b"", write.at
    while data:
        size = SECTOR_BYTES - at % SECTOR_BYTES
        yield Write(write.name, at, data[:size])
        data, at = data[size:], at + size


def _apply(content: bytearray, write: Write) -> None:
    if write.data is None:
        size = max(write.at, 0)
        del content[size:]
        content.extend(bytes(size - len(content)))
        return
    content.extend(bytes(max(0, write.at - len(content))))
    content[write.at : write.at + len(write.data)] = write.data
