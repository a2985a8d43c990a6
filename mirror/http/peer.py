"""Who is at the other end of a unix socket, as the kernel says (unix(7), SO_PEERCRED)."""

import socket
import struct

from aiohttp import web

_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid


def peer(request: web.Request) -> dict[str, int]:
    """The process, user and group that made the connection of a request; nothing for other connections."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        return {}
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return dict(zip(("pid", "uid", "gid"), _UCRED.unpack(credentials), strict=True))
