"""Inputs and outputs of the activities."""

from dataclasses import dataclass


@dataclass
class MyActivityInput:
    name: str


@dataclass
class MyActivityOutput:
    name: str
    done_before: bool
