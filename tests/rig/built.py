"""What users install: the wheel and the Debian package, built as `make` builds them."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PATIENCE = 600.0


def wheel(directory: Path) -> Path:
    """Build the wheel into a directory."""
    _run(".ci/wheel", directory)
    return next(directory.glob("*.whl"))


def package(wheel: Path, directory: Path) -> Path:
    """Build the Debian package from the wheel. Libraries come from the package index, or pip's cache."""
    _run("systemd/debian/build", wheel, directory)
    return next(directory.glob("*.deb"))


def older(package: Path, directory: Path) -> Path:
    """The same package as an earlier version."""
    root, result = directory / "older", directory / "older.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, root], check=True)
    control = root / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text("".join("Version: 0.0.1\n" if line.startswith("Version:") else line for line in lines))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, result], check=True)
    return result


def _run(script: str, *arguments: Path) -> None:
    """Run a script of the project on this interpreter. Raises RuntimeError with its words."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [_ROOT / script, *arguments],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}\n{done.stdout}{done.stderr}")
