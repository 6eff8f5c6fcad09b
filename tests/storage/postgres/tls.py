"""A server that speaks TLS, for tests of who does: it answers PostgreSQL's question for it, and passes on in clear."""

import asyncio
import ssl
import subprocess
import threading
from contextlib import AsyncExitStack, suppress
from pathlib import Path

_QUESTION_BYTES = 8


class Certificate:
    """A certificate for "localhost", signed by itself."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path, self.key = folder / "server.crt", folder / "server.key"
        command = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(self.key), "-out",
            str(self.path),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


class TlsProxy:
    """Forwards what comes over TLS to a port of this machine; `connections` counts those that were encrypted."""

    def __init__(self, port: int, certificate: Certificate) -> None:
        self._target = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate.path, certificate.key)
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Take no more connections."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as ends:
            ends.enter_context(suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError))
            ends.callback(writer.transport.abort)
            await reader.readexactly(_QUESTION_BYTES)
            writer.write(b"S")
            await writer.start_tls(self._context)
            ends.callback(writer.transport.abort)
            self.connections += 1
            on_reader, on_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.callback(on_writer.transport.abort)
            await asyncio.gather(_pump(reader, on_writer), _pump(on_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
