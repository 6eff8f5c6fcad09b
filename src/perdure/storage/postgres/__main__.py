"""`python -m perdure.storage.postgres`: make or upgrade a store's schema, and give roles their rights."""

import sys
from collections.abc import Sequence

from perdure.errors import PerdureError
from perdure.storage.postgres.failures import LostError, no_connection
from perdure.storage.postgres.migrations import migrate
from perdure.storage.postgres.roles import grant
from perdure.storage.postgres.statements import read_statements
from perdure.storage.postgres.url import parse
from perdure.storage.postgres.wire import Wire

USAGE = """usage: python -m perdure.storage.postgres migrate URL
       python -m perdure.storage.postgres grant (run | view) ROLE URL
"""


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    match arguments:
        case ["migrate", url]:
            return _on(url, None)
        case ["grant", "run" | "view" as purpose, role, url]:
            return _on(url, (purpose, role))
        case _:
            sys.stderr.write(USAGE)
            return 2


def _on(url: str, rights: tuple[str, str] | None) -> int:
    try:
        target = parse(url)
        try:
            wire = Wire(target.conninfo, read_statements(target.schema))
        except LostError as exc:
            raise no_connection(str(exc), target.place) from None
        try:
            if rights is None:
                version = migrate(wire, target.schema, target.place)
                sys.stdout.write(f"{target.place}: schema {target.schema} has version {version}\n")
            else:
                purpose, role = rights
                grant(wire, target.schema, role, "run" if purpose == "run" else "view")
                sys.stdout.write(f"{target.place}: {role} may {purpose} schema {target.schema}\n")
        finally:
            wire.close()
    except PerdureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
