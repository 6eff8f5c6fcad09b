"""Perdure and its peers on the same workloads, in the same run, on the same disk: `python -m benchmarks`."""
