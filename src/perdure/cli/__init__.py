"""The `perdure` command: makes a project, runs a worker, starts, shows and steers instances.

Laws kept here: it reads and acts through the public client only; what is data never reaches the terminal as anything
but text; whatever goes wrong is one sentence with the next step. The extra `cli` brings what it needs.
"""
