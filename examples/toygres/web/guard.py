"""Keeps other people's pages out of a server that has no login.

It listens on the loopback interface only, and yet every web page that is open on this machine can send it requests. Two
doors are shut: a foreign name that resolves to 127.0.0.1 (DNS rebinding), by the Host header; and a foreign page that
makes the browser send something (CSRF), by the headers that browsers set and pages can't.
"""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 65_536

_SAFE_METHODS = {"GET", "HEAD"}
_OWN_SITE = {None, "same-origin", "none"}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuses what does not come from the server's own page, or from a program."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refuse(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refuse(self, method: str, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host")
        if host not in self._hosts:
            return _say(HTTPStatus.MISDIRECTED_REQUEST, "Nobody of this name is here.")
        if method in _SAFE_METHODS:
            return None
        # A browser says where a request comes from; what is no browser says nothing.
        if headers.get("origin") not in {None, f"http://{host}"} or headers.get("sec-fetch-site") not in _OWN_SITE:
            return _say(HTTPStatus.FORBIDDEN, "Only this server's own page may ask for this.")
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _say(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Say it in JSON, as application/json.")
        length = headers.get("content-length", "0" if "transfer-encoding" not in headers else "unknown")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return _say(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Say it in {BODY_BYTES_MAX} bytes, and how many they are."
            )
        return None


def _say(status: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(text + "\n", status)
