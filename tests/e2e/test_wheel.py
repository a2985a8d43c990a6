"""The wheel, in a virtual environment that knows nothing of the checkout."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from mirror import __version__
from tests.conftest import UPSTREAM
from tests.rig import built, web
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port

pytestmark = pytest.mark.slow

_OURS_AWAY = ["env", "--unset=PYTHONPATH"]


class Installed(Daemon):
    """The daemon from another environment than ours."""

    def __init__(self, directory: Path, containerd: Containerd, environment: Path, page: str) -> None:
        super().__init__(
            directory,
            containerd.address,
            {UPSTREAM: "http://127.0.0.1:1"},
            settings={"admin": {"listen": page}},
        )
        self._program = str(environment / "bin/registry-mirror")

    def command(self) -> list[str]:
        """Start its script, for which our PYTHONPATH does not count."""
        return [*_OURS_AWAY, self._program, "serve", "--config", str(self.config)]


@pytest.fixture
def environment(directory: Path) -> Path:
    """A virtual environment with the wheel alone; its libraries are those of ours, so that no index is asked."""
    environment = directory / "environment"
    venv.create(environment, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "--disable-pip-version-check"]
    wheel = built.wheel(directory)
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    packages = next(environment.glob("lib/python3*/site-packages"))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return environment


def test_wheel(directory: Path, containerd: Containerd, environment: Path) -> None:
    """What it installs says its version, serves, and has the page and the generated stubs with it."""
    python = [*_OURS_AWAY, str(environment / "bin/python"), "-c", "import mirror.pb; print(mirror.pb.__file__)"]
    found = subprocess.run(python, cwd=directory, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(environment))
    version = [*_OURS_AWAY, str(environment / "bin/registry-mirror"), "--version"]
    said = subprocess.run(version, cwd=directory, capture_output=True, text=True, check=True).stdout
    assert __version__ in said

    page = f"127.0.0.1:{free_port()}"
    with Installed(directory / "daemon", containerd, environment, page) as daemon:
        answer = web.get(f"http://{page}/")
        assert answer
        assert b"<html" in answer[0]
        assert daemon.stop() == 0
        assert not daemon.complaints()
