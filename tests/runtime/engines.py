"""Engines that a test runs round by round, on a store and a clock of its own."""

from msgspec import Raw
from msgspec.json import encode

from perdure import Registry
from perdure._client.requests import Inbox, Request
from perdure._runtime.assembly import make_engine as assemble
from perdure._runtime.dispatcher import Engine
from perdure._runtime.hands import Hands, Settings
from perdure._runtime.watchdog import TurnWatch
from perdure._work import Batch, Deliver, NewInstance, Raised, Start, StartInstance, encode_message
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock, SeededEntropy

ROUNDS = 3


class _Inbox:
    """What a test puts in is there in the next round."""

    def __init__(self):
        self.entries = []

    def put(self, entries):
        self.entries += entries

    def take(self, _wait_us):
        taken, self.entries = self.entries, []
        return taken


class NoHands:
    def start(self, tasks):
        raise AssertionError(tasks)

    def cancel(self, keys):
        raise AssertionError(keys)

    def stop(self, keys):
        raise AssertionError(keys)

    def keep(self, waiting_max): ...

    def begin(self, begun):
        raise AssertionError(begun)

    def renounce(self, keys): ...

    def lose(self): ...

    def flush(self): ...


def make_engine(
    registry: Registry,
    storage: MemoryStorage,
    clock: ManualClock,
    seed: int = 1,
    *,
    inbox: Inbox | None = None,
    hands: Hands | None = None,
    cached_max: int = 10,
    slots: int = 1,
) -> Engine:
    """A worker that has registered and looked for work; its client is `ClientOf`, its activities are the hands'."""
    engine = assemble(
        storage=storage,
        registry=registry,
        clock=clock,
        entropy=SeededEntropy(seed),
        inbox=inbox or _Inbox(),
        hands=hands or NoHands(),
        settings=Settings(slots=slots, worker_name="test"),
        turns=TurnWatch(clock, None),
        cached_max=cached_max,
    )
    engine.register()
    run(engine)
    return engine


class ClientOf:
    """A client of a worker, through the worker's own inbox."""

    def __init__(self):
        self.inbox = _Inbox()

    def raise_event(self, instance_id: str, name: str, data: str, *, incarnation: int | None = None) -> list:
        """Send an event without a dedup key; what the list gets is the answer."""
        answers = []
        body = encode_message(Raised(name=name, data=Raw(encode(data))))
        item = Deliver(to_id=instance_id, body=body, incarnation=incarnation)
        self.inbox.put([Request(item, answers.append)])
        return answers


def run(engine: Engine) -> None:
    """Let it do what there is to do."""
    for _ in range(ROUNDS):
        engine.run_once()


def start(storage: MemoryStorage, instance_id: str, name: str, start_at: int | None = None, number: int = 1) -> None:
    """A client starts an instance, whose incarnation is this number."""
    message = encode_message(Start(input=Raw(b"[]")))
    new = NewInstance(id=instance_id, incarnation=number, name=name, start=message, start_at=start_at)
    _commit(storage, StartInstance(new=new))


def replace(storage: MemoryStorage, instance_id: str, name: str, number: int, cancel: bytes) -> None:
    """A client starts another instance, whose incarnation is this number, in the place of an open one."""
    new = NewInstance(id=instance_id, incarnation=number, name=name, start=encode_message(Start(input=Raw(b"[]"))))
    _commit(storage, StartInstance(new=new, on_conflict="terminate_and_restart", cancel=cancel))


def deliver(storage: MemoryStorage, instance_id: str, message, *, control: bool = False) -> None:
    """A client sends an instance something."""
    deliver_bytes(storage, instance_id, encode_message(message), control=control)


def deliver_bytes(storage: MemoryStorage, instance_id: str, body: bytes, *, control: bool = False) -> None:
    """The same, of something that need not be a message."""
    _commit(storage, Deliver(to_id=instance_id, body=body, control=control))


def _commit(storage: MemoryStorage, item) -> None:
    storage.commit(Batch(token=bytes(16), items=(item,)))
