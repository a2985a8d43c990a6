"""The front of the central registry: Debian's nginx with the configuration that the docs ship, as it is."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rig.process import Process
from tests.rig.programs import Programs

SITE = Path(__file__).parents[2] / "docs/examples/nginx.conf"
"""What an operator puts into `/etc/nginx/conf.d`."""

# What Debian has in its nginx.conf, but for the places, and a log that says how large requests and answers were.
_MAIN = """
daemon off;
user root;
pid {state}/nginx.pid;
error_log {state}/errors.log;
events {{}}
http {{
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    log_format rig escape=json
        '{{"caller": "$remote_addr", "method": "$request_method", "path": "$uri", "status": $status,'
        ' "taken": $request_length, "given": $bytes_sent, "to": "$upstream_addr"}}';
    access_log {state}/requests.log rig;
    include /etc/nginx/conf.d/*.conf;
}}
"""


@dataclass(frozen=True)
class Passed:
    """A request that came to the front."""

    caller: str
    method: str
    path: str
    status: int
    taken: int
    """Bytes of the request, its head included."""
    given: int
    """Bytes of the answer, likewise."""
    to: str
    """The addresses that it was passed on to, in their order; empty if the front answered by itself."""


class Front(Process):
    """nginx, which has its configuration, certificate and authorities in `etc`, the `/etc` of `programs`."""

    name = "nginx"

    def __init__(self, programs: Programs, etc: Path, answers_at: Sequence[tuple[str, int]]) -> None:
        super().__init__(programs.state)
        self._programs = programs
        self._answers_at = answers_at
        self._site = etc / "nginx/conf.d/registry.conf"
        self._site.parent.mkdir(parents=True)
        self._site.write_text(SITE.read_text())
        (etc / "nginx/nginx.conf").write_text(_MAIN.format(state=self.directory))

    def command(self) -> list[str]:
        """Start it as Debian's unit does, but in the foreground."""
        return self._programs.command("nginx", "-e", str(self.directory / "start.log"))

    def is_ready(self) -> bool:
        """Whether it takes connections at all its addresses."""
        return all(map(_takes_connections, self._answers_at))

    def restart(self, change: Callable[[str], str]) -> None:
        """Have it run with the shipped configuration after a change."""
        self.stop()
        self._site.write_text(change(SITE.read_text()))
        self.start()

    def passed(self) -> Iterator[Passed]:
        """The requests that it has answered."""
        log = self.directory / "requests.log"
        for line in log.read_text().splitlines():
            yield Passed(**json.loads(line))


def _takes_connections(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
