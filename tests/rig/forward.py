"""A forward proxy, as they stand between a host and the rest of the world."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.rig.web import Login


@dataclass
class ForwardProxy:
    """Tunnels `CONNECT`, and passes on requests for absolute URLs; with a `login` for those who have it.

    `asked` has the method and target of the first request of each connection that was let through.
    """

    login: Login | None = None
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, *_ = head.split(" ", 2)
            if self.login and f"Proxy-Authorization: {self.login.header}\r\n" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            self.asked.append((method, target))
            await _pass_on(method, target, head, (reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # either side may leave when it likes
        finally:
            writer.close()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pass_on(method: str, target: str, head: str, client: Connection) -> None:
    host, _, port = (target if method == "CONNECT" else urlsplit(target).netloc).partition(":")
    server = await asyncio.open_connection(host, int(port))
    if method == "CONNECT":
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        lines = [line for line in head.split("\r\n") if not line.startswith("Proxy-")]
        server[1].write("\r\n".join(lines).encode())
    try:
        await asyncio.gather(_copy(client[0], server[1]), _copy(server[0], client[1]))
    finally:
        server[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def forward_proxy(login: Login | None = None) -> AsyncIterator[ForwardProxy]:
    """A proxy on a free port of the loopback."""
    proxy = ForwardProxy(login)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1")
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield proxy
