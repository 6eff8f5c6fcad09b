"""Orchestrations that reach for clocks, chance and the world in many ways: what the guard is tested with.

A module of its own, so that the lines in errors are not those of the test.
"""

import datetime as dt
import functools
import logging
import os
import pathlib
import random
import secrets
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from random import randint
from time import time as seconds

# ruff: noqa: DTZ002, DTZ003, DTZ011, PLW0108, S310, S311, S605, S607, PLW1510, SIM115, PTH123 - it is all wrong on purpose

CALLS: dict[str, Callable[[], object]] = {
    "time.time": lambda: time.time(),
    "time.time_ns": lambda: time.time_ns(),
    "time.monotonic": lambda: time.monotonic(),
    "time.perf_counter": lambda: time.perf_counter(),
    "time.localtime": lambda: time.localtime(),
    "random.random": lambda: random.random(),
    "random.shuffle": lambda: random.shuffle([1, 2]),
    "random.Random": lambda: random.Random(),
    "random.SystemRandom": lambda: random.SystemRandom(),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "os.urandom": lambda: os.urandom(1),
    "secrets.token_hex": lambda: secrets.token_hex(),
    "random.choice": lambda: secrets.choice([1]),
    "datetime.now": lambda: datetime.now(UTC),
    "datetime.utcnow": lambda: dt.datetime.utcnow(),
    "datetime.today": lambda: datetime.today(),
    "date.today": lambda: dt.date.today(),
    "io.open": lambda: open(os.devnull),
    "os.open": lambda: os.open(os.devnull, os.O_RDONLY),
    "os.system": lambda: os.system("true"),
    "subprocess.run": lambda: subprocess.run(["true"]),
    "threading.Thread.start": lambda: threading.Thread(target=print).start(),
    "socket.create_connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    "urllib.request.urlopen": lambda: urllib.request.urlopen("file:///dev/null"),
    "sqlite3.connect": lambda: sqlite3.connect(":memory:"),
    "pathlib.Path.read_text": lambda: pathlib.Path(os.devnull).read_text(encoding="utf-8"),
}

ALIASED: dict[str, Callable[[], object]] = {
    "time.time": lambda: seconds(),
    "time.sleep": lambda: functools.partial(time.sleep, 0)(),
    "random.randint": lambda: randint(1, 2),
    "uuid.uuid4": lambda: functools.partial(uuid.uuid4)(),
}

HARMLESS: dict[str, Callable[[], object]] = {
    "a time that is given": lambda: time.gmtime(0),
    "a date that is given": lambda: datetime(2023, 11, 14, tzinfo=UTC),
    "a timestamp": lambda: datetime.fromtimestamp(0, UTC),
    "a generator with a seed": lambda: random.Random(5).random(),
    "a uuid of a name": lambda: uuid.uuid5(uuid.NAMESPACE_URL, "order-7"),
    "logging": lambda: logging.getLogger("guarded").warning("no clock of ours"),
    "a library": lambda: subprocess.list2cmdline(["a b"]),
    "a class of this package": lambda: Helper(1),
    "a proxy that answers to anything": lambda: Proxy()(),
}


class Helper:
    def __init__(self, number: int) -> None:
        self.number = number


class Clocked:
    def __init__(self) -> None:
        self.at = time.time()

    def method(self) -> float:
        return time.time()


class Proxy:
    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"somebody asked for {name}")

    def __call__(self) -> None:
        pass


def two_levels_deep() -> float:
    return one_level_deep()


def one_level_deep() -> float:
    return time.time()
