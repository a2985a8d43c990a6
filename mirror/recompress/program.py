"""What runs in the process: gzip on standard input, zstd on standard output, how it went on standard error.

`python -m mirror.recompress.program LEVEL THREADS DIFF_ID MOST`. The last line of standard error is JSON: `digest` and
`size` of what was made and `uncompressed` bytes, or why the layer is bad, as its `reason`; then the exit status is 65
(EX_DATAERR, sysexits.h). Whatever was written before that is of no use.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from mirror.core.errors import BadLayerError
from mirror.recompress.codecs import Zstd, uncompressed

_NICEST = 19


def main() -> None:
    """Compress one layer anew."""
    level, threads, diff_id, most = sys.argv[1:]
    _stand_back()
    try:
        made = recompress(
            sys.stdin.buffer, sys.stdout.buffer.write, Zstd(int(level), int(threads)), diff_id=diff_id, most=int(most)
        )
        sys.stdout.buffer.flush()
    except BadLayerError as error:
        sys.stderr.write(json.dumps({"reason": str(error)}))
        sys.exit(os.EX_DATAERR)
    sys.stderr.write(json.dumps(made))


def _stand_back() -> None:
    """Take only what nobody else wants: of the processors, and so, as ioprio_set(2) says, of the disks.

    Being nice makes no difference to that; but by it /proc/stat tells what this takes from what others do.
    """
    os.nice(_NICEST)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def recompress(
    source: BinaryIO, write: Callable[[bytes], object], zstd: Zstd, *, diff_id: str, most: int
) -> dict[str, str | int]:
    """Compress a layer of gzip anew; returns what is said of it.

    Raises:
        BadLayerError: it is cut off or damaged, has more than `most` bytes inside, or another digest than `diff_id`.
    """
    inside, size = hashlib.sha256(), 0
    for piece in uncompressed(source, "gzip"):
        size += len(piece)
        if size > most:
            raise BadLayerError(f"it has more than {most} bytes inside")
        inside.update(piece)
        write(zstd.add(piece))
    if (found := f"sha256:{inside.hexdigest()}") != diff_id:
        raise BadLayerError(f"inside it is {found}, and its config says {diff_id}")
    write(zstd.end())
    return {"digest": zstd.digest, "size": zstd.size, "uncompressed": size}


if __name__ == "__main__":
    main()
