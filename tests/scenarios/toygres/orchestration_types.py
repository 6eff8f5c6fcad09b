"""Inputs and outputs of the orchestrations."""

from dataclasses import dataclass


@dataclass
class MyInput:
    id: str
    iteration: int = 0


@dataclass
class MyOutput:
    id: str
    results: list[str]
