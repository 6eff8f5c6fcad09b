"""The workflows: deterministic code that decides what is done. Every effect is an activity."""
