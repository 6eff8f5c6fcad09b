"""What was probably meant by an option that there is not."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_PARTS_OF_A_POLICY = {
    part: part for part in ("max_attempts", "backoff", "attempt_timeout", "total_timeout", "retry_on", "never_retry")
} | {"timeout": "attempt_timeout", "max_retries": "max_attempts"}


def cure_of(option: str, usable: Collection[str]) -> str:
    """What to write instead of an option, where these can be used."""
    if "retry" in usable and (part := _PARTS_OF_A_POLICY.get(option)):
        return f"write retry=RetryPolicy({part}=...)"
    near = get_close_matches(option, usable, n=2)
    if not near:
        return f"its options are {', '.join(usable)}"
    return f"did you mean {' or '.join(f'{name}=' for name in near)}?"
