"""The client that pushes: each blob with a POST and one PUT, as BuildKit does.

`python -m bench.pusher HOST REPOSITORY AT_ONCE` says by an empty line that it has started; then it reads the path of a
file and its digest from each line that comes in.
"""

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.connection import Connection


def _push(host: str, repository: str, lines: Iterable[str]) -> None:
    """Push one blob after the other."""
    with Connection(host) as connection:
        for path, digest in map(str.split, lines):
            location = connection.send("POST", f"/v2/{repository}/blobs/uploads/").headers["location"]
            upload = location.removeprefix(f"http://{host}")
            connection.send_file("PUT", f"{upload}{'&' if '?' in upload else '?'}digest={digest}", Path(path))


def main(host: str, repository: str, at_once: int) -> None:
    """Share the blobs out to connections."""
    print(flush=True)
    lines = sys.stdin.readlines()
    shares = [lines[first::at_once] for first in range(at_once)]
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(partial(_push, host, repository), shares))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
