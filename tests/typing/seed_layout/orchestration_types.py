"""Inputs and outputs of orchestrations."""

from dataclasses import dataclass


@dataclass
class CreateInstanceInput:
    name: str
    password: str


@dataclass
class CreateInstanceOutput:
    connection: str
    actor_id: str


@dataclass
class ActorInput:
    name: str
    iteration: int = 0
