"""Steps and differences in few words: what is at its default is left out, what is equal too."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec


def brief(value: object) -> str:
    """A step or a part of one, without what is at its default."""
    if isinstance(value, msgspec.Struct):
        shown = ", ".join(
            f"{field.name}={brief(part)}"
            for field in msgspec.structs.fields(value)
            if (part := getattr(value, field.name)) != field.default
        )
        return f"{type(value).__name__}({shown})"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(brief, value))}]"
    return repr(value)


def differences(left: object, right: object, path: str) -> Iterator[str]:
    """Where two answers differ, one line for each place."""
    if left == right:
        return
    if isinstance(left, msgspec.Struct) and type(left) is type(right):
        for name in left.__struct_fields__:
            yield from differences(getattr(left, name), getattr(right, name), f"{path}.{name}")
    elif _alike(left, right) and isinstance(left, Sequence) and isinstance(right, Sequence):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in sorted({*left, *right}):
            yield from differences(left.get(key), right.get(key), f"{path}[{key}]")
    else:
        yield f"{path}: the reference says {brief(left)}, the other {brief(right)}"


def _alike(left: object, right: object) -> bool:
    """Whether these are two rows of equally many things."""
    return isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right)
