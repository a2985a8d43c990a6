"""The units and what belongs to them, as systemd's own tools read them, and beside the code."""

import configparser
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import msgspec
import pytest

from mirror.app.changes import AT_ONCE, counts_at_once
from mirror.config import Settings

ROOT = Path(__file__).parents[2]
UNITS = sorted(file for file in (ROOT / "systemd").iterdir() if file.suffix in {".service", ".socket", ".timer"})
DROP_IN = ROOT / "docs/examples/registry-mirror.service.d/local.conf"


def _unit(path: Path) -> configparser.RawConfigParser:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(path)
    return unit


@pytest.mark.parametrize("with_drop_in", [False, True])
def test_systemd_understands_them(tmp_path: Path, with_drop_in: bool) -> None:  # noqa: FBT001 - it is a parameter
    """Each unit, the service also with the example of a drop-in, without a warning."""
    program = tmp_path / "registry-mirror"
    program.touch(mode=0o755)
    for file in UNITS:
        (tmp_path / file.name).write_text(file.read_text().replace("/usr/bin/registry-mirror", str(program)))
    if with_drop_in:
        (tmp_path / "registry-mirror.service.d").mkdir()
        local = DROP_IN.read_text().replace("/usr/bin/registry-mirror", str(program))
        (tmp_path / "registry-mirror.service.d/local.conf").write_text(local)
    units = [str(tmp_path / file.name) for file in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_directories_and_the_group(tmp_path: Path) -> None:
    """They are made as the units expect them, on a host that has nothing yet."""
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("passwd", "group"):
        (etc / name).write_text("root:x:0:0::/:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
    systemd = ROOT / "systemd"
    for command, file in (
        (["systemd-sysusers"], "registry-mirror.sysusers"),
        (["systemd-tmpfiles", "--create"], "registry-mirror.tmpfiles"),
    ):
        subprocess.run([*command, f"--root={tmp_path}", "-"], check=True, input=(systemd / file).read_bytes())
    assert "registry-mirror:x:" in (etc / "group").read_text()
    service = _unit(systemd / "registry-mirror.service")["Service"]
    for base, key in (("run", "RuntimeDirectoryMode"), ("var/lib", "StateDirectoryMode")):
        assert (tmp_path / base / "registry-mirror").stat().st_mode & 0o777 == int(service[key], 8)


def test_sockets_have_names_that_fit() -> None:
    """Each socket unit opens something that the daemon would open by itself, at the same place, for the group."""
    settings = Settings(default_upstream="r", upstreams={"r": msgspec.convert({"url": "http://r"}, _upstream())})
    places = {
        "builders": settings.listeners["builders"].listen,
        "admin": str(settings.admin.socket),
        "operators": str(settings.admin.push_socket),
    }
    sockets = [_unit(file)["Socket"] for file in UNITS if file.suffix == ".socket"]
    assert {each["FileDescriptorName"]: each["ListenStream"] for each in sockets} == places
    groups = {each["SocketGroup"] for each in sockets if each["ListenStream"].startswith("/")}
    assert [f"g {group} -" in (ROOT / "systemd/registry-mirror.sysusers").read_text() for group in groups] == [True]


def _upstream() -> type:
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    kind: type = get_args(fields["upstreams"])[1]
    return kind


def _keys(kind: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """All keys that settings may have, with `*` for names that are chosen."""
    structs = [each for each in (kind, *get_args(kind)) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    if not structs:
        yield ".".join(path)
    elif get_origin(kind) is dict:
        yield from _keys(structs[0], (*path, "*"))
    else:
        for field in msgspec.structs.fields(structs[0]):
            yield from _keys(field.type, (*path, field.encode_name))


def test_the_table_of_what_counts_when() -> None:
    """docs/systemd.md says of each key what the code does; and neither names a key that there is not."""
    text = (ROOT / "docs/systemd.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_.*]+)` \| (at once|after a restart)[^|]*\|$", text, re.MULTILINE))
    keys = list(_keys(Settings))
    assert len(keys) > 80
    for key in keys:
        row = max((row for row in rows if f"{key}.".startswith(f"{row}.")), key=len)
        assert (rows[row] == "at once") == counts_at_once(key), key
    for named in (*rows, *AT_ONCE):
        assert any(f"{key}.".startswith(f"{named}.") for key in keys), named
