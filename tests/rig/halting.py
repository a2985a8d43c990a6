"""A containerd that can be stopped in the middle of any layer of gzip, for tests of what becomes of half a layer."""

from tests.rig.containerd import Containerd
from tests.rig.images import MEDIA


class HaltingContainerd(Containerd):
    """It unpacks by another program, so only tests that stop it should use it: others are to see containerd's own."""

    halts = MEDIA["oci"].layer_type("gzip")
