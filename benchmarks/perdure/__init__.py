"""Perdure's side of the workloads."""
