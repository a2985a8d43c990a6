"""What figures were taken on: they mean little without it."""

import os
import platform
import subprocess
from pathlib import Path

from tests.rig.containerd import version

_GIB = 1 << 30


def describe() -> str:
    """This machine and the peers on it, in a line."""
    parts = [
        f"{os.cpu_count()} processors of {_processor()}",
        f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / _GIB:.0f} GiB",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        " ".join(["containerd", *version().split()[2:3]]),
        " ".join(["docker-registry", *_registry().split()[2:3]]),
    ]
    return ", ".join(parts)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _registry() -> str:
    command = ["docker-registry", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
