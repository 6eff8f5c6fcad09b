"""The command: `python -m examples.toygres [serve|clear] [--folder DIR] [--port N] ...`."""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import uvicorn

from examples.toygres import names
from examples.toygres.cluster import PORTS, UnusableClusterError
from examples.toygres.cluster.ports import HOST
from examples.toygres.control_plane import Plan, open_control_plane
from examples.toygres.resources import Site
from examples.toygres.types import Pace
from examples.toygres.web.app import make_app
from perdure import RegistrationError

_GOODBYE_S = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop, or delete everything; returns 1 if that can't be done here."""
    options = _parse(arguments)
    plan = _plan_of(options)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        plan.site.folder.mkdir(parents=True, exist_ok=True)
        # Now rather than by the first activity, and in words.
        plan.site.open_cluster()
        if options.verb == "clear":
            asyncio.run(_clear(plan))
        else:
            asyncio.run(_serve(plan, options.port))
    except (OSError, RegistrationError, UnusableClusterError) as error:
        print(f"examples.toygres: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m examples.toygres", description="Create, watch and delete PostgreSQL servers of this machine."
    )
    parser.add_argument(
        "verb", nargs="?", choices=("serve", "clear"), default="serve",
        help="serve the page and do the work (default), or delete all servers and images",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path(".toygres"), help="where everything is; default .toygres")
    parser.add_argument("--port", type=int, default=8080, help="of the page; default 8080, and 0 for any that is free")
    parser.add_argument(
        "--ports", type=_range, default=PORTS, metavar="A-B", help="that servers may have; default 15432-16431"
    )
    parser.add_argument("--max-creates", type=int, default=2, help="servers that are made at a time; default 2")
    parser.add_argument(
        "--health-every", type=_seconds, default=timedelta(seconds=30), metavar="S", help="default 30 seconds"
    )
    parser.add_argument(
        "--ready-every", type=_seconds, default=timedelta(seconds=1), metavar="S", help="default 1 second"
    )
    parser.add_argument(
        "--prune-after", type=_seconds, default=timedelta(hours=1), metavar="S",
        help="how long ended orchestrations are kept; default 3600 seconds",
    )  # fmt: skip
    parser.add_argument(
        "--pin", type=_pin, action="append", default=[], metavar="NAME=VERSION",
        help="let new executions of an orchestration run this version, e.g. instance-actor=1.0.0",
    )  # fmt: skip
    parser.add_argument("--no-fsync", action="store_true", help="let servers lose their last commits at a power cut")
    return parser.parse_args(arguments)


def _plan_of(options: argparse.Namespace) -> Plan:
    site = Site(options.folder.resolve(), ports=options.ports, durable=not options.no_fsync)
    return Plan(
        site,
        Pace(ready_every=options.ready_every, health_every=options.health_every),
        max_creates=options.max_creates,
        prune_keep=options.prune_after,
        version_policy=dict(options.pin),
    )


def _seconds(text: str) -> timedelta:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return timedelta(seconds=seconds)


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    ports = range(int(first), int(last) + 1)
    if not ports:
        raise argparse.ArgumentTypeError(f"{text} has no port in it")
    return ports


def _pin(text: str) -> tuple[str, str]:
    name, _, version = text.partition("=")
    return f"{names.PACKAGE}::orchestration::{name}", version


async def _serve(plan: Plan, port: int) -> None:
    with socket.create_server((HOST, port)) as listener:
        port = listener.getsockname()[1]

        def announce() -> None:
            print(f"Toygres: http://{HOST}:{port}/", flush=True)

        app = make_app(plan, port=port, when_ready=announce)
        config = uvicorn.Config(
            app, lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=_GOODBYE_S
        )
        await uvicorn.Server(config).serve(sockets=[listener])


async def _clear(plan: Plan) -> None:
    async with open_control_plane(plan) as plane:
        await plane.clear()
    print("All servers and images are deleted.")


if __name__ == "__main__":
    # By now everything has ended in good order, and the servers run on.
    with suppress(KeyboardInterrupt):
        sys.exit(main())
