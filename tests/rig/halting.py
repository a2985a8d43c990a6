"""A containerd that can be stopped in the middle of a layer, for tests of what becomes of half a layer."""

from pathlib import Path

from tests.rig.containerd import Containerd
from tests.rig.images import MEDIA

# A shell reads no further than `head` does, so that the rest is there for `cat`.
_HALT = 'gzip -dc | { head -c 1000000; while [ -e "$0" ]; do sleep 0.05; done; exec cat; }'


class HaltingContainerd(Containerd):
    """For as long as `halt` exists, it unpacks the first megabyte of a layer of gzip and no more.

    What stops is a stream processor, as containerd calls the programs that it may be told to unpack layers with. One
    that outlives it ends when `halt` is gone.
    """

    def __init__(self, directory: Path) -> None:
        self.halt = directory / "halt"
        super().__init__(directory)

    def _settings(self) -> dict[str, object]:
        gzip, tar = (MEDIA["oci"].layer_type(compression) for compression in ("gzip", "none"))
        processor = {"accepts": [gzip], "returns": tar, "path": "/bin/sh", "args": ["-c", _HALT, str(self.halt)]}
        return {**super()._settings(), "stream_processors": {"rig.halt": processor}}

    def close(self) -> None:
        """Stop it, and let go of what it has stopped."""
        self.halt.unlink(missing_ok=True)
        super().close()
