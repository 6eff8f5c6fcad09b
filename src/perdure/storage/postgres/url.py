"""What a URL says: where the server is, and in which schema the store lives.

Laws kept here: the URL is taken apart here and not by the driver, whose errors quote parts of passwords; what is shown
of it (`place`) has neither user nor password.
"""

from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from perdure.errors import UsageError
from perdure.storage.postgres.statements import SCHEMA, checked_schema

CONNECT_S = 10
"""How long a connection may take to come about, in seconds, for each host of the URL."""

_OPTIONS = frozenset({
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "host", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts", "passfile",
    "password", "port", "require_auth", "service", "sslcert", "sslcertmode", "sslcrl", "sslkey", "sslmode",
    "sslnegotiation", "sslpassword", "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout", "user",
})  # fmt: skip
_DEFAULTS = {
    "application_name": "perdure",
    "connect_timeout": str(CONNECT_S),
    # A peer that has vanished is noticed by the kernel too, also while nothing is asked of it.
    "keepalives": "1",
    "keepalives_count": "2",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    # Whoever writes has no use for a replica.
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "15000",
}


class Target(NamedTuple):
    """Where a store is."""

    conninfo: str
    schema: str
    place: str
    """The server and database, for messages."""


def parse(url: str) -> Target:
    """The target that a URL names.

    Raises:
        UsageError: The URL can't be understood, or has an option that there is not.
    """
    try:
        parts = urlsplit(url)
        user, password = parts.username, parts.password
    except ValueError:
        raise UsageError("the store's URL can't be read: write postgresql://user@host:5432/database") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = checked_schema(options.pop("schema", SCHEMA))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise UsageError(
            f"the store's URL has the option {unknown[0]!r}, which there is not: use schema, or a connection option of "
            "libpq such as sslmode"
        )
    hosts, ports = _hosts(parts)
    named = {
        "host": ",".join(hosts),
        "port": ",".join(ports) if any(ports) else "",
        "user": unquote(user or ""),
        "password": unquote(password or ""),
        "dbname": unquote(parts.path.removeprefix("/")),
    }
    settings = _DEFAULTS | options | {key: value for key, value in named.items() if value}
    conninfo = " ".join(f"{key}={_quoted(value)}" for key, value in settings.items())
    server = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True))
    server = server or options.get("host", "") or "the local server"
    return Target(conninfo, schema, f"PostgreSQL at {server}/{settings.get('dbname', '')}")


def _hosts(parts: SplitResult) -> tuple[list[str], list[str]]:
    """The hosts and ports, of which there may be several."""
    hosts: list[str] = []
    ports: list[str] = []
    for each in filter(None, parts.netloc.rpartition("@")[2].split(",")):
        host, colon, port = each.rpartition(":")
        if not colon or each.endswith("]"):
            host, port = each, ""
        if port and not port.isdecimal():
            raise UsageError("the store's URL has a port that is no number: write postgresql://user@host:5432/database")
        hosts.append(unquote(host.strip("[]")))
        ports.append(port)
    return hosts, ports


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
