"""Prometheus, which scrapes a daemon's admin socket over a port of the loopback."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.rig import web
from tests.rig.ports import free_port
from tests.rig.process import Process
from tests.rig.wire import AdminWire

JOB = "registry-mirror"
"""What the scrapes are called."""

_STOP = 0.05


class Relay:
    """Asks the admin socket `socket` what it is asked on a port of its own."""

    def __init__(self, socket: Path) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = AdminWire(socket).ask("GET", self.path, headers={"Accept": self.headers.get("Accept", "")})
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(_STOP,))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Prometheus(Process):
    """Scrapes `target` each second, and evaluates rules as often."""

    name = "prometheus"

    def __init__(self, directory: Path, target: str, rules: str) -> None:
        super().__init__(directory)
        self._port = free_port()
        self._settings = directory / "prometheus.yml"
        (directory / "rules.yml").write_text(rules)
        self._settings.write_text(
            json.dumps(  # which is YAML, too
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(directory / "rules.yml")],
                    "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [target]}]}],
                }
            )
        )

    def command(self) -> list[str]:
        """With all that it keeps in its directory."""
        return [
            "prometheus",
            f"--config.file={self._settings}",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]

    def is_ready(self) -> bool:
        """Whether it says so."""
        return web.answers(f"http://127.0.0.1:{self._port}/-/ready")

    def query(self, expression: str) -> list[Any]:
        """What an expression gives now."""
        found: list[Any] = self._ask("query?" + urlencode({"query": expression}))["result"]
        return found

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self._ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _ask(self, path: str) -> Any:  # noqa: ANN401 - whatever is in the answer
        found = web.get(f"http://127.0.0.1:{self._port}/api/v1/{path}")
        if found is None:
            raise RuntimeError(f"{path} is not there")
        return json.loads(found[0])["data"]
