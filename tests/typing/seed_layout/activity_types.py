"""Inputs and outputs of activities."""

from dataclasses import dataclass


@dataclass
class DeployInput:
    name: str
    password: str


@dataclass
class DeployOutput:
    connection: str
    created: bool
