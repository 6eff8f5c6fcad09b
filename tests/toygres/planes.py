"""A control plane as a process of its own, and what one can find of its servers without asking it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil
import psycopg

from examples.toygres.activities.connections import url_of
from examples.toygres.activity_types import ServerRecord
from examples.toygres.cms import Cms
from examples.toygres.resources import Site
from perdure import Client, InstanceStatus, OrchestrationHandle

ROOT = Path(__file__).resolve().parents[2]

RESULT_S = 200
"""When something must be hanging, on a machine that has much else to do."""


class Plane:
    """One control plane after the other on one site: started, stopped, killed, and asked over HTTP."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        """Start it; it works when this returns."""
        quick = ("--port", "0", "--no-fsync", "--ready-every", "0.1", "--health-every", "0.3")
        with (self.site.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.toygres", "--folder", str(self.site.folder), *quick, *options],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        announced = self._process.stdout.readline()
        assert announced.startswith("Toygres: http://127.0.0.1:"), self.log
        self.port = int(announced.rpartition(":")[2].strip().strip("/"))

    def kill(self) -> None:
        """Kill it with SIGKILL; it is dead when this returns."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to leave; returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        process.communicate()
        return process.returncode

    @property
    def log(self) -> str:
        return (self.site.folder / "log").read_text()

    def ask(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the answer, decoded if it is JSON."""
        everything = {"Content-Type": "application/json", **(headers or {})}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=RESULT_S)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), everything)
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if is_json else text

    def begin(self, method: str, path: str, body: object = None) -> str:
        """Ask for something that an orchestration does; returns its instance's id."""
        status, answer = self.ask(method, path, body)
        assert status == 202, answer
        instance_id: str = answer["instance_id"]
        return instance_id

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client of the store, which goes on when the control plane does not."""
        async with Client(self.site.store) as client:
            yield client

    async def finish(self, method: str, path: str, body: object = None) -> Any:
        """Ask for something and wait until it is done; returns the result."""
        async with self.client() as client:
            return await client.get_handle(self.begin(method, path, body)).result(timeout=RESULT_S)

    def cms(self) -> Any:
        """The CMS, to be read in a `with`."""
        return closing(Cms(self.site.cms))

    def record(self, name: str) -> ServerRecord:
        with self.cms() as cms:
            record = cms.find_server(name)
        assert record is not None
        return record

    def connect(self, name: str) -> "psycopg.Connection[Any]":
        endpoint = self.record(name).endpoint
        assert endpoint is not None
        return psycopg.connect(url_of(endpoint), autocommit=True, connect_timeout=30)

    def postmaster(self, name: str) -> psutil.Process:
        """The process of a server."""
        pid_file = self.site.folder / "cluster" / "servers" / self.record(name).server_id / "data" / "postmaster.pid"
        return psutil.Process(int(pid_file.read_text().splitlines()[0]))

    def leftovers(self) -> list[str]:
        """Every process, port, folder and name that there is."""
        running = [each.pid for each in processes_of(self.site.folder) if each.pid != self._pid]
        return [*self.holdings(), *(f"process {each}" for each in running)]

    def holdings(self) -> list[str]:
        """Every port, folder and name."""
        with self.cms() as cms:
            found = [f"name {each.name}" for each in [*cms.list_servers(), *cms.list_images()]]
        for kind in ("ports", "servers", "images"):
            found += [f"{kind} {each.name}" for each in (self.site.folder / "cluster" / kind).iterdir()]
        return found

    @property
    def _pid(self) -> int | None:
        return None if self._process is None else self._process.pid


def processes_of(folder: Path) -> list[psutil.Process]:
    """What runs in a folder, or was told about it."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.pid != os.getpid()
        and (
            any(str(folder) in word for word in process.info["cmdline"] or ())
            or Path(process.info["cwd"] or "/").is_relative_to(folder)
        )
    ]


async def reached(
    handle: OrchestrationHandle[Any], condition: Callable[[InstanceStatus[Any]], bool]
) -> InstanceStatus[Any]:
    """The first status for which the condition holds."""
    async for status in handle.watch():
        if condition(status):
            return status
    raise AssertionError(f"{handle.instance_id} ended before: {await handle.status()}")
