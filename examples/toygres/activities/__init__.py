"""The effects on the world, one activity each. Each looks first whether its work is done: it may run again.

They are plain `def` functions, as they wait for processes, files and sockets; Perdure runs them in threads.
"""

from perdure import Backoff, RetryPolicy

QUICKLY = RetryPolicy(5, backoff=Backoff.exponential(0.1, max=2), total_timeout=60)
"""For what hardly ever fails."""

UNTIL_IDLE = RetryPolicy(300, backoff=Backoff.exponential(0.1, multiplier=1.5, max=1))
"""For what may have to wait until another process, perhaps a killed worker's, has let go: five minutes."""
