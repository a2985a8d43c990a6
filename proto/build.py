"""Build hook: generates `mirror/pb/`, the typed stubs of containerd's API, from the `.proto` files beside it."""

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from grpc_tools import protoc  # type: ignore[import-untyped]  # it has no annotations
from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "mirror/pb"
_DOCSTRING = '"""Generated from `proto/` by its build hook: containerd\'s messages and stubs."""\n'


class StubsHook(BuildHookInterface[BuilderConfig]):
    """Generates the stubs before hatchling collects the files of a wheel or links an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Generate, except for an sdist, which carries the `.proto` files instead."""
        if self.target_name != "sdist":
            generate(Path(self.root))


def generate(root: Path) -> None:
    """Replace `mirror/pb/` below `root` with fresh stubs, so that nothing stale survives a renamed `.proto`.

    Raises:
        RuntimeError: protoc refused; it has printed why.
    """
    shutil.rmtree(root / PACKAGE, ignore_errors=True)
    (root / PACKAGE).mkdir()
    (root / PACKAGE / "__init__.py").write_text(_DOCSTRING)
    if protoc.main(_arguments(root)):
        raise RuntimeError(f"protoc could not generate {PACKAGE}")


def _arguments(root: Path) -> list[str]:
    """The command line: mapping `proto/` to `mirror/pb/` makes the modules import each other below `mirror.pb`."""
    plugins = ("python", "grpc_python", "mypy", "mypy_grpc")
    return [
        "protoc",
        f"-I{PACKAGE}={root / 'proto'}",
        f"-I{files('grpc_tools') / '_proto'}",
        *(f"--{plugin}_out={root}" for plugin in plugins),
        *(f"{PACKAGE}/{proto.name}" for proto in sorted((root / "proto").glob("*.proto"))),
    ]
