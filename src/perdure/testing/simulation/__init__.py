"""Deterministic simulation: the production engine in a world whose time, chance and faults a seed decides.

Several workers run random programs on one store, while calls of the store fail, hang and answer late, processes are
killed, paused and shut down, clocks jump and wake-ups get lost. After every applied call the books are checked; in the
end the world heals, and everything that can finish must. A seed that finds something repeats it, on every machine:

    python -m perdure.testing.simulation --seed 4711

It is a tool for Perdure's own tests; its names may still change.
"""
