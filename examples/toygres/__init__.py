"""Toygres: a control plane that creates, watches and deletes PostgreSQL servers, as durable orchestrations.

`README.md` says how to run it. To read it, begin with `orchestrations/create_instance.py`.
"""
