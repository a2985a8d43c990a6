"""What reads requests, fuzzed by what code it reaches, where the fuzzer runs."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rig.wire import manifest
from tests.security.people import token

pytestmark = pytest.mark.slow

_RUNS, _SECONDS = 50_000, 10

# Where it begins: something good of each kind.
SEEDS: Mapping[str, list[bytes]] = {
    "names": [b"registry.example.com/team/app:v1@sha256:" + b"0" * 64, b"team/app"],
    "ranges": [b"0-1023", b"bytes 0-1023/2048", b'wait=upstream, wait=10; a="b"'],
    "manifests": [
        manifest(b"{}", b"layer"),
        json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}).encode(),
    ],
    "tokens": [token(tenant="acme").removeprefix("Bearer ").encode()],
}


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no package for this machine")
@pytest.mark.parametrize("target", SEEDS)
def test_a_target(directory: Path, target: str) -> None:
    """Nothing that it is given makes it fail, hang or grow."""
    corpus = directory / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[target]):
        (corpus / str(number)).write_bytes(seed)
    bounds = [f"-runs={_RUNS}", f"-timeout={_SECONDS}", f"-artifact_prefix={directory}/"]
    command = [sys.executable, "-m", "tests.security.guided", target, *bounds, str(corpus)]
    environment = os.environ | {"TMPDIR": str(directory)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert not done.returncode, done.stderr[-5000:]
    assert f"Done {_RUNS} runs" in done.stderr
