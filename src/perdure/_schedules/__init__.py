"""Schedules: an orchestration of the engine's own vocabulary that starts others when the calendar says so."""
