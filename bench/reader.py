"""The client that pulls: each reader takes the whole of an image over one connection, and keeps nothing of it.

`python -m bench.reader HOST REPOSITORY TAG READERS` says by an empty line that it has started, and begins when its
input ends.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench.connection import Connection

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _read(host: str, repository: str, tag: str) -> None:
    with Connection(host) as connection:
        manifest = json.loads(connection.get(f"/v2/{repository}/manifests/{tag}", _MANIFEST))
        for blob in (manifest["config"], *manifest["layers"]):
            if (came := connection.drain(f"/v2/{repository}/blobs/{blob['digest']}")) != blob["size"]:
                raise RuntimeError(f"{came} bytes of {blob}")


def main(host: str, repository: str, tag: str, readers: int) -> None:
    """Read all at once."""
    print(flush=True)
    sys.stdin.read()
    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(partial(_read, host, repository), [tag] * readers))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
