"""What is asked of a server over its own protocol, with psycopg.

psycopg is PostgreSQL's client for Python by those who know both: typed, with the libpq inside that reads password files
and knows how to ping. `psql` would do too, and give its answers as text.
"""

import time
from datetime import UTC, datetime, timedelta

import psycopg

from examples.toygres import names
from examples.toygres.activity_types import Endpoint, HealthCheck
from perdure import Backoff, RetryPolicy, activity

_CONNECT_S = 5
_STATEMENT_MS = 5_000


@activity(name=names.TEST_CONNECTION, retry=RetryPolicy(5, backoff=Backoff.exponential(2, max=30), attempt_timeout=60))
def test_connection(endpoint: Endpoint) -> str:
    """Log in and ask for the version."""
    return _ask_version(endpoint)


@activity(name=names.CHECK_HEALTH)
def check_health(endpoint: Endpoint) -> HealthCheck:
    """Look at a server. That it does not answer is an answer, not a failure."""
    begun = time.monotonic()
    try:
        detail, healthy = _ask_version(endpoint), True
    except psycopg.Error as error:
        detail, healthy = " ".join(str(error).split()), False
    latency = timedelta(seconds=round(time.monotonic() - begun, 6))
    return HealthCheck(healthy, detail, datetime.now(UTC), latency)


def url_of(endpoint: Endpoint) -> str:
    """What a client needs to connect, the password excepted: that stays in its file."""
    return (
        f"postgresql://{endpoint.user}@{endpoint.host}:{endpoint.port}/{endpoint.database}?passfile={endpoint.passfile}"
    )


def _ask_version(endpoint: Endpoint) -> str:
    with psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        dbname=endpoint.database,
        passfile=endpoint.passfile,
        connect_timeout=_CONNECT_S,
        options=f"-c statement_timeout={_STATEMENT_MS}",
    ) as connection:
        row = connection.execute("SELECT current_setting('server_version')").fetchone()
    return "PostgreSQL" if row is None else f"PostgreSQL {row[0]}"
