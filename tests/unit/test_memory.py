"""Memory that was freed is used again."""

import subprocess
import sys

_PROGRAM = """
import resource
from mirror.runtime.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        buffers = [bytes(512 * 1024) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults()
print(faults())
"""
_PAGES = 100 * 4 * 512 // 4


def test_freed_memory_is_kept() -> None:
    """Buffers that come and go need hardly any fresh pages: by itself, the C library would ask for all of them anew."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < _PAGES / 10
