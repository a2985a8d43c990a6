"""The daemon itself, as a real process with its own settings, journal and sockets."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig import toml, web
from tests.rig.ports import free_port
from tests.rig.process import Process

_COMMAND = [sys.executable, "-m", "mirror"]
_ANSWER = 60.0

IMPORT = os.environ.get("IMPORT", "auto")
"""The way of blobs into containerd that is set; the suite runs once more with `IMPORT=stream`."""
IS_DIRECT = IMPORT != "stream"
"""Whether they get there as files, as the rig's containerds allow it."""


class Daemon(Process):
    """The daemon on a containerd and some upstreams; the first of them is the default.

    An upstream is a name and its URL, or its table of settings. `settings` go over what the rig chooses, which is
    retries in fractions of a second, a log in JSON and nothing evicted because this machine's disk is rather full.
    Blobs get into containerd as IMPORT in the environment says, by itself else.
    """

    name = "registry-mirror"

    def __init__(
        self,
        directory: Path,
        containerd: str,
        upstreams: Mapping[str, str | Mapping[str, object]],
        *,
        port: int | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        super().__init__(directory)
        self.host = f"127.0.0.1:{port or free_port()}"
        self.url = f"http://{self.host}"
        self.default = next(iter(upstreams))
        self.config = directory / "config.toml"
        chosen = self._chosen(containerd)
        merged = {section: {**chosen.get(section, {}), **(settings or {}).get(section, {})} for section in chosen}
        tables = {name: {"url": value} if isinstance(value, str) else value for name, value in upstreams.items()}
        self.config.write_text(toml.dump({"default_upstream": self.default, "upstreams": tables, **merged}))

    def _chosen(self, containerd: str) -> dict[str, dict[str, object]]:
        return {
            "listeners": {"builders": {"listen": self.host}},
            "http": {},
            "callers": {},
            "tenants": {},
            "identity": {},
            "rules": {},
            "verify": {},
            "admin": {"socket": str(self.directory / "admin.sock")},
            "containerd": {"address": containerd, "import": IMPORT},
            "journal": {"path": str(self.directory / "journal.db")},
            "replication": {"backoff_first": 0.05, "backoff_max": 0.5},
            "disk": {"evict_at": 100},
            "retention": {},
            "uploads": {},
            "shutdown": {"deadline": 5.0},
            "unpack": {},
            "variants": {},
            "log": {"format": "json"},
            "tracing": {},
        }

    def command(self) -> list[str]:
        """Start it as systemd would."""
        return [*_COMMAND, "serve", "--config", str(self.config)]

    def is_ready(self) -> bool:
        """Whether it answers to the version check."""
        return web.answers(f"{self.url}/v2/")

    def cli(self, *arguments: str, seconds: float = _ANSWER) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands against it."""
        command = [*_COMMAND, *arguments, "--config", str(self.config)]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
        )

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        done = self.cli("status", "--json")
        done.check_returncode()
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def wait(self, reference: str, state: str, seconds: float = _ANSWER) -> None:
        """Wait until an image is `unpacked` or `replicated`.

        Raises:
            RuntimeError: it failed, or took longer; in the words of the command.
        """
        done = self.cli("wait", reference, "--for", state, "--timeout", f"{seconds:g}", seconds=seconds + _ANSWER)
        if done.returncode:
            raise RuntimeError(f"waiting ended with {done.returncode}\n{done.stdout}{done.stderr}")

    def complaints(self) -> list[str]:
        """What must never be in its log: lines that no logger of ours wrote, errors of ours, unexpected crashes."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        alien = [line for line in lines if not line.startswith("{")]
        return alien + [
            line for line in lines if "Traceback" in line or '"http.failed"' in line or "internal error" in line
        ]

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log so far, over all its starts, without a line that is just being written."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
