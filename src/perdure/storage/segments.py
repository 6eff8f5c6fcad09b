"""What the stores that write a batch in parts have in common."""

from perdure._work import Deliver, Item, StartInstance, TaskDone, Turn


def payload_bytes(item: Item) -> int:
    """About how many bytes of payloads an item brings: history repeats nearly all that goes with a turn."""
    if isinstance(item, Turn):
        return 0 if item.history is None else len(item.history.data)
    match item:
        case TaskDone() | Deliver():
            return len(item.body)
        case StartInstance():
            return len(item.new.start)
        case _:
            return 0
