"""Servers that answer everything in one way."""

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self

_STOP = 0.05


class _Simple:
    """One answer to whatever is asked, on a port of its own; only by HEAD there is nothing to be found."""

    def __init__(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(status, body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(status, body)

            def do_HEAD(self) -> None:
                self._answer(HTTPStatus.NOT_FOUND, b"")

            def _answer(self, status: HTTPStatus, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(_STOP,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Page(_Simple):
    """A page of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(HTTPStatus.OK, "text/html", html.encode())


class Refusing(_Simple):
    """A registry that denies everything, with its own words."""

    def __init__(self, words: str) -> None:
        body = {"errors": [{"code": "DENIED", "message": words}]}
        super().__init__(HTTPStatus.FORBIDDEN, "application/json", json.dumps(body).encode())
