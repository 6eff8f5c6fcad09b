"""The peers' sides of the workloads, each run by the interpreter of an environment of its own."""
