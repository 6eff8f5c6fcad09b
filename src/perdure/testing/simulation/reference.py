"""Which outcomes a program may have, by an interpreter that knows nothing of the engine.

The interpreter reads a program beside the result that it gave. Where the program leaves something open, such as who
wins a race, the result says which way it went; everything else has to be as the program says. `may_fail` are the errors
that a node can end with instead of a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.testing.simulation.programs import ATTEMPTS

if TYPE_CHECKING:
    from perdure.testing.simulation.programs import Node, Program

CHILD_ERRORS = {"OrchestrationError", "OrchestrationCancelledError", "OrchestrationTerminatedError"}


class Verdict:
    """Judges results."""

    def result(self, program: Program, result: Any) -> str | None:
        """Why the program can't have had this result; None if it can."""
        if not isinstance(result, list) or len(result) != len(program):
            return f"{len(program)} parts gave {result!r}"
        for node, out in zip(program, result, strict=True):
            why = self.node(node, out)
            if why is not None:
                return why
        return None

    def node(self, node: Node, out: Any) -> str | None:
        """Why the node can't have yielded this; None if it can."""
        kind, number, *rest = node
        if not isinstance(out, list) or out[:2] != [kind, number] or len(out) != 3:  # noqa: PLR2004 - and what came
            return f"{kind} {number} yielded {out!r}"
        judge = getattr(self, f"_{kind}", self._nothing)
        why: str | None = judge(number, out[2], *rest)
        return why

    def _nothing(self, number: int, value: Any, *_: Any) -> str | None:
        return None if value is None else f"{number} yielded {value!r}, not None"

    def _raise(self, number: int, value: Any) -> str:
        return f"{number} raises, and yielded {value!r}"

    def _act(self, number: int, value: Any, policy: str, how: dict[str, Any]) -> str | None:
        failures = max(how.get("fails", 0), how.get("hangs", 0))
        if how.get("ends") or failures >= ATTEMPTS:
            return f"activity {number} can't succeed, and yielded {value!r}"
        # An attempt may end in its time limit because the worker was paused in it.
        most = ATTEMPTS if policy == "limit" else failures + 1
        if not isinstance(value, list) or value[0] != number or not failures < value[1] <= most:
            return f"activity {number} succeeds at attempt {failures + 1}, and yielded {value!r}"
        return None

    def _wait(self, number: int, value: Any, mailbox: str) -> str | None:
        return None if isinstance(value, str) else f"wait {number} for {mailbox} yielded {value!r}"

    def _chance(self, number: int, value: Any) -> str | None:
        return None if isinstance(value, str) else f"{number} yielded {value!r}"

    def _patch(self, number: int, value: Any) -> str | None:
        return None if value is True else f"change {number} was there from the beginning, and applied: {value!r}"

    def _status(self, number: int, value: Any) -> str | None:
        status, shown = value
        own = status == number and shown.endswith(f"/{number}")
        return None if own else f"{number} showed something of itself, and read back {value!r}"

    def _send(self, number: int, value: Any, target: int, _: str) -> str | None:
        fits = value is None or (number % 2 and value.startswith(f"root-{target}/"))
        return None if fits else f"{number} looked at root-{target}, and saw {value!r}"

    def _hold(self, _: int, value: Any, __: str, body: Node) -> str | None:
        return self.node(body, value)

    def _seq(self, number: int, value: Any, nodes: list[Node]) -> str | None:
        if not isinstance(value, list) or len(value) != len(nodes):
            return f"{number} of {len(nodes)} nodes yielded {value!r}"
        return next((why for pair in zip(nodes, value, strict=True) if (why := self.node(*pair)) is not None), None)

    _par = _seq

    def _race(self, number: int, value: Any, nodes: list[Node]) -> str | None:
        if not isinstance(value, list) or not 0 <= value[0] < len(nodes):
            return f"race {number} yielded {value!r}"
        winner = nodes[value[0]]
        if winner[0] in ("timer", "sleep"):
            sooner = [node for node in nodes if node[0] in ("timer", "sleep") and node[2] < winner[2]]
            if sooner:
                return f"race {number}: {winner[:3]} won against {sooner[0][:3]}, which was due before"
        return self.node(winner, value[1])

    _pick = _race

    # What comes last has no part in the value.
    def _try(self, number: int, value: Any, body: Node, _: Node) -> str | None:
        well, outcome = value
        if well:
            return self.node(body, outcome)
        return None if outcome in may_fail(body) else f"try {number} can't have caught {outcome}"

    def _guard(self, _: int, value: Any, body: Node, last: Node) -> str | None:
        well, outcome = value
        return self.node(body, outcome) if well else self.node(last, outcome)

    def _child(self, _: int, value: Any, parts: Program, __: str) -> str | None:
        # Whether its cancellation was asked for is its own affair: it is judged as an instance too.
        return self.result(parts, value)

    def _kin(self, _: int, value: Any, parts: Program, __: str, ___: bool) -> str | None:  # noqa: FBT001 - a program is data
        return self.result(parts, value)

    def _timeout(self, _: int, value: Any, __: float, body: Node) -> str | None:
        # Its body may have refused to be cancelled.
        return self.node(body, value)

    def _task(self, number: int, value: Any, beside: Node, body: Node) -> str | None:
        if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - the two
            return f"task {number} yielded {value!r}"
        return self.node(body, value[0]) or self.node(beside, value[1])


def may_fail(node: Node) -> set[str]:
    """The names of the errors that a node can raise."""
    kind, _, *rest = node
    match kind:
        case "raise":
            return {"SimulatedEndError"}
        case "act":
            return _act_errors(rest[0], rest[1])
        case "child" | "kin":
            return CHILD_ERRORS
        case "hold":
            return may_fail(rest[1])
        case "timeout":
            return {"TimeoutError"} | may_fail(rest[1])
        case "seq" | "par" | "race" | "pick":
            return set().union(*map(may_fail, rest[0]))
        case "task":
            return may_fail(rest[0]) | may_fail(rest[1])
        case "guard":
            # Its body may be cancelled, and then the last activity runs.
            return may_fail(rest[0]) | may_fail(rest[1])
        case "try":
            return may_fail(rest[1])
        case _:
            return set()


def program_may_fail(program: Program) -> set[str]:
    """The names of the errors that a program can end with."""
    return set().union(*map(may_fail, program))


def _act_errors(policy: str, how: dict[str, Any]) -> set[str]:
    if how.get("ends") or how.get("fails", 0) >= ATTEMPTS or (how.get("given_up") and how["once"] != "booked"):
        return {"ActivityError", "ActivityTimeoutError"} if policy == "limit" else {"ActivityError"}
    # With a time limit any attempt may run out of it when the worker is paused.
    return {"ActivityError", "ActivityTimeoutError"} if policy == "limit" else set()
