"""The HTTP API, and the page. `POST` and `DELETE` answer 202 with the id of the instance that does what was asked.

| Request | Meaning |
|---|---|
| `GET /` | the page |
| `GET /api/servers` | the servers, with their health and the orchestrations behind them |
| `POST /api/servers` `{"name", "image"?, "settings"?}` | create one |
| `DELETE /api/servers/NAME` | delete it |
| `POST /api/servers/NAME/check` | let its actor look at it now |
| `POST /api/batches` `{"prefix", "count", "settings"?}` | create several |
| `GET /api/images`, `POST /api/images` `{"name", "server"}`, `DELETE /api/images/NAME` | images |
| `GET /api/orchestrations`, `GET /api/orchestrations/ID/history` | what Perdure knows |
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from examples.toygres.cms import NameTakenError, UnknownRecordError
from examples.toygres.control_plane import BadRequestError, ControlPlane, Plan, ServerView, open_control_plane
from examples.toygres.web.guard import Guard
from examples.toygres.web.page import render
from perdure import InstanceStatus, PayloadError

T = TypeVar("T")

_ERRORS: dict[type[Exception], HTTPStatus] = {
    BadRequestError: HTTPStatus.BAD_REQUEST,
    msgspec.MsgspecError: HTTPStatus.BAD_REQUEST,
    NameTakenError: HTTPStatus.CONFLICT,
    UnknownRecordError: HTTPStatus.NOT_FOUND,
    # Of settings that no history can hold.
    PayloadError: HTTPStatus.BAD_REQUEST,
}


class CreateServer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    image: str | None = None
    settings: dict[str, str] = {}


class CreateBatch(msgspec.Struct, forbid_unknown_fields=True):
    prefix: str
    count: int
    settings: dict[str, str] = {}


class CreateImage(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    server: str


def make_app(plan: Plan, *, port: int, when_ready: Callable[[], None]) -> Starlette:
    """The application. Its lifespan is the worker's: what is under way goes on while it serves.

    Args:
        plan: How to work.
        port: The port that it is served on, as clients have to name it.
        when_ready: Called once the worker works.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with open_control_plane(plan) as plane:
            when_ready()
            yield {"plane": plane}

    return Starlette(
        routes=[
            Route("/", show_page),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            Route("/api/servers", list_servers, methods=["GET"]),
            Route("/api/servers", create_server, methods=["POST"]),
            Route("/api/servers/{name}", delete_server, methods=["DELETE"]),
            Route("/api/servers/{name}/check", check_server, methods=["POST"]),
            Route("/api/batches", create_batch, methods=["POST"]),
            Route("/api/images", list_images, methods=["GET"]),
            Route("/api/images", create_image, methods=["POST"]),
            Route("/api/images/{name}", delete_image, methods=["DELETE"]),
            Route("/api/orchestrations", list_orchestrations),
            Route("/api/orchestrations/{instance_id}/history", read_history),
        ],
        middleware=[Middleware(Guard, port=port)],
        exception_handlers=dict.fromkeys(_ERRORS, _explain),
        lifespan=lifespan,
    )


async def show_page(request: Request) -> Response:
    plane = _plane(request)
    servers, images = await plane.list_servers(), await plane.list_images()
    return HTMLResponse(render(servers, images, await plane.list_orchestrations()))


async def list_servers(request: Request) -> Response:
    return _json([_server(each) for each in await _plane(request).list_servers()])


async def create_server(request: Request) -> Response:
    wanted = await _read(request, CreateServer)
    return _begun(await _plane(request).create_server(wanted.name, image=wanted.image, settings=wanted.settings))


async def create_batch(request: Request) -> Response:
    wanted = await _read(request, CreateBatch)
    return _begun(await _plane(request).create_batch(wanted.prefix, wanted.count, settings=wanted.settings))


async def delete_server(request: Request) -> Response:
    return _begun(await _plane(request).delete_server(request.path_params["name"]))


async def check_server(request: Request) -> Response:
    return _begun(await _plane(request).check_server(request.path_params["name"]))


async def list_images(request: Request) -> Response:
    return _json(await _plane(request).list_images())


async def create_image(request: Request) -> Response:
    wanted = await _read(request, CreateImage)
    return _begun(await _plane(request).create_image(wanted.name, wanted.server))


async def delete_image(request: Request) -> Response:
    return _begun(await _plane(request).delete_image(request.path_params["name"]))


async def list_orchestrations(request: Request) -> Response:
    return _json([_instance(each) for each in await _plane(request).list_orchestrations()])


async def read_history(request: Request) -> Response:
    events = await _plane(request).read_history(request.path_params["instance_id"])
    return _json([
        {"id": each.id, "kind": each.kind, "at": each.at, "source": each.source, "where": each.where, "data": each.data}
        for each in events
    ])  # fmt: skip


def _server(view: ServerView) -> dict[str, Any]:
    return {
        "server": view.record,
        "health": view.health,
        "creation": _instance(view.creation),
        "actor": _instance(view.actor),
    }


def _instance(status: InstanceStatus[object] | None) -> dict[str, Any] | None:
    if status is None:
        return None
    return {
        "instance_id": status.instance_id,
        "name": status.name,
        "version": status.version,
        "execution": status.execution_id,
        "status": status.status,
        "custom_status": status.custom_status,
        "error": None if status.error is None else status.error.summary,
        "held_because": status.held_because,
    }


def _plane(request: Request) -> ControlPlane:
    plane: ControlPlane = request.state.plane
    return plane


async def _read(request: Request, type_: type[T]) -> T:
    return msgspec.json.decode(await request.body(), type=type_)


def _begun(instance_id: str) -> Response:
    return _json({"instance_id": instance_id}, HTTPStatus.ACCEPTED)


async def _explain(_: Request, error: Exception) -> Response:
    status = next(status for type_, status in _ERRORS.items() if isinstance(error, type_))
    return _json({"error": str(error)}, status)


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
