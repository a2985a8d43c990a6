"""The README tells the truth: every command in it works as it stands there."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import bcrypt
import pytest

from bench.standings import standings
from tests.conftest import UPSTREAM
from tests.rig import toml
from tests.rig.authority import Authority
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Text, build_image, busybox
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.web import Login
from tests.rig.wire import Wire

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(
    "file", ["README.md", *sorted(str(each.relative_to(ROOT)) for each in ROOT.glob("docs/**/*.md"))]
)
def test_every_link_leads_somewhere(file: str) -> None:
    """The files that the README and the documents name exist, and so do the headings in them."""
    text = (ROOT / file).read_text()
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        path, _, heading = target.partition("#")
        found = (ROOT / file).parent / path if path else ROOT / file
        assert found.exists(), target
        assert not heading or heading in _headings(found), target


def _headings(file: Path) -> set[str]:
    """By the names that links have for them."""
    found = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in found}


def _settings() -> tuple[str, str, str, str]:
    """What the README has to begin with, what tells callers apart, what gets a variant, and what is pulled through."""
    first, second, third, fourth = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return first, second, third, fourth


def test_the_settings_are_valid(directory: Path) -> None:
    """The settings that the README shows are accepted by the daemon, alone and together."""
    from mirror.config import load  # noqa: PLC0415 - the one test of this file that needs it

    first, *others = _settings()
    for text in (first, *(f"{first}\n{other}" for other in others), "\n".join((first, *others))):
        (directory / "config.toml").write_text(text)
        assert load(directory / "config.toml").default_upstream == UPSTREAM


def test_who_may_push(directory: Path, containerd: Containerd) -> None:
    """With those alice pushes to what is below her tenant's name and nowhere else, over TLS; others do not."""
    authority, login, port = Authority(directory / "authority"), Login("alice", "open sesame"), free_port()
    for name, file in authority.server("tls").items():
        Path(file).rename(directory / {"certificate": "tls.pem", "key": "tls.key"}[name])
    (directory / "htpasswd").write_text(f"alice:{bcrypt.hashpw(login.password.encode(), bcrypt.gensalt(4)).decode()}\n")
    here = {"0.0.0.0:5443": f"127.0.0.1:{port}", "/etc/registry-mirror": str(directory)}
    text = _settings()[1]
    for written, meant in here.items():
        assert written in text
        text = text.replace(written, meant)
    upstreams = {UPSTREAM: "http://127.0.0.1:1"}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=tomllib.loads(text)) as daemon:
        url, tls = f"https://127.0.0.1:{port}", authority.context()
        alice, nobody = Wire(url, authorization=login.header, tls=tls), Wire(url, tls=tls)
        alice.push("acme/app", "v1", build_image(directory / "layout", [busybox(directory.name)]))
        assert alice.ask("POST", "/v2/globex/app/blobs/uploads/").status == 403
        assert nobody.ask("POST", "/v2/acme/app/blobs/uploads/").status == 401
        assert not daemon.complaints()


def test_what_gets_a_variant(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """With those settings there are both behind the tag."""
    settings = tomllib.loads(_settings()[2])
    settings["variants"]["load"] = 1.0
    layout = build_image(directory / "layout", [Layer([Text("text", 1 << 20)])])
    upstreams = {UPSTREAM: registry.url}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        Wire(daemon.url).push("team/app", "v1", layout)
        until(
            lambda: (found := registry.manifest("team/app", "v1")) and found.digest != layout.digest, "it is upstream"
        )
        assert not daemon.complaints()


def test_what_is_pulled_through(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """With those settings what only the upstream has can be pulled, and need not be pushed."""
    pull = tomllib.loads(_settings()[3])["upstreams"][UPSTREAM]
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: {"url": registry.url, **pull}}) as daemon:
        digest = Wire(registry.url).push_blob("team/app", directory.name.encode())
        mount = f"/v2/team/other/blobs/uploads/?mount={digest}&from=team/app"
        assert Wire(daemon.url).ask("POST", mount).status == 201
        assert Wire(daemon.url).ask("GET", f"/v2/team/app/blobs/{digest}").body == directory.name.encode()
        assert not daemon.complaints()


def test_the_table_of_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what the results say."""
    monkeypatch.chdir(ROOT)
    table = standings(Path("bench/results"))
    assert table in README


def test_the_make_targets() -> None:
    """`make demo` plays the demo, which leaves nothing behind; `make test` is what runs this."""
    for command in [command for command in _commands() if command.startswith("make ")]:
        plan = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {"make demo": "tests.rig.demo", "make test": "pytest"}[command] in plan.stdout


@pytest.mark.containerd
def test_the_demo() -> None:
    """The demo ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.rig.demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode, "Nothing is left running" in done.stdout) == (0, True), done


@pytest.fixture
def environment(directory: Path, containerd: Containerd) -> dict[str, str]:
    """The machine that the README's reader sits at: its tools, and where they find their state."""
    storage = {"storage": {"driver": "vfs", "graphroot": f"{directory}/graph", "runroot": f"{directory}/run"}}
    (directory / "storage.conf").write_text(toml.dump(storage))
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CONTAINERD_ADDRESS": containerd.address,
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        "REGISTRY_MIRROR_CONFIG": str(directory / "daemon" / "config.toml"),
    }


@pytest.mark.usefixtures("registry")
def test_the_commands(directory: Path, containerd: Containerd, daemon: Daemon, environment: dict[str, str]) -> None:
    """Every other command runs, in the README's order, with nothing changed but addresses and paths."""
    build_image(directory / "my-app", [busybox(directory.name)])

    image = _run("buildah pull --quiet oci:my-app:v1", directory, environment).strip()
    _run(f"buildah tag {image} my-app", directory, environment)
    here = {
        "127.0.0.1:5000": daemon.host,
        "setup containerd": f"setup containerd --root {directory}",
        "ctr run": f"ctr run --runc-root {containerd.directory}/runc --fifo-dir {containerd.directory}/fifo",
    }
    for command in [command for command in _commands() if not command.startswith(("make ", "registry-mirror serve"))]:
        for written, meant in here.items():
            command = command.replace(written, meant)  # noqa: PLW2901 - step by step
        printed = _run(command, directory, environment)
        assert "ctr run" not in command or printed.strip() == directory.name


def test_serve(directory: Path, containerd: Containerd) -> None:
    """`registry-mirror serve --config` is how the rig starts every daemon, here by the name of the command."""
    assert "registry-mirror serve --config /etc/registry-mirror/config.toml" in _commands()
    daemon = Daemon(directory / "daemon", containerd.address, {UPSTREAM: "http://127.0.0.1:1"})
    command = [str(Path(sys.executable).parent / "registry-mirror"), "serve", "--config", str(daemon.config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(daemon.is_ready, "it serves")
        finally:
            process.terminate()
    assert process.returncode == 0


def _run(command: str, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        shlex.split(command), cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done
    return done.stdout
