"""A shop whose worker is killed again and again, and that nevertheless does everything exactly once.

Run it with `make demo`. To read it, begin with what you would write in a project of your own:

- `orders.py`: the types that everything else speaks of
- `activities.py`: each effect on the world is one activity
- `orchestrations.py`: what happens to an order, from its first step to its last, as plain asyncio code
- `registry.py`, `worker.py`: what a worker can run, and the process that runs it

Around it is the world that it works in, and the trial that it is put to:

- `ledger.py`: the shop's books, an SQLite database of its own that knows nothing of Perdure
- `world.py`: a bank whose cards misbehave, and managers who approve, refuse, or are on holiday
- `supervisor.py`, `worker_process.py`: places the orders, answers for the managers, and kills the worker
- `proof.py`: reads the books afterwards and says what is wrong with them
- `report.py`, `__main__.py`: the progress line, the words at the end, and the command
"""
