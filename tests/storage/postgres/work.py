"""What the tests of faults commit: one start, by a client or by a worker."""

from itertools import count

from perdure._work import Batch, Claim, Item, NewInstance, StartInstance

NAME = "shop::orchestration::order"
ORDER = f"{NAME}@1.0.0"

_numbers = count(1_000)


def start(instance_id: str) -> StartInstance:
    """A client starts an instance."""
    new = NewInstance(
        id=instance_id, incarnation=next(_numbers), name=NAME, version="1.0.0", start=b"start", root=instance_id
    )
    return StartInstance(new=new)


def batch(*items: Item, worker: int | None = None, claim: bool = False) -> Batch:
    """A batch with a token of its own."""
    wanted = Claim(instances_max=100, tasks_max=100) if claim else None
    return Batch(token=next(_numbers).to_bytes(16, "big"), items=items, worker=worker, claim=wanted)


def register(storage, name: str = "worker", **options) -> int:
    """A worker that can run what is started here."""
    return storage.register(name=name, orchestrations=[ORDER], activities=[], **options).worker
