"""crane, go-containerregistry's own client, which Debian 12 does not have."""

from tests.rig.client import Client, Image, digest_in, image_layout, index_layout
from tests.rig.images import Compression


class Crane(Client):
    """Pushes a layout as it is."""

    program = "crane"
    compressions = ("gzip", "zstd", "none")
    mounts_config = True

    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """A layout with such an image."""
        return Image(str(image_layout(self.fresh(), marker, compression).directory), compression)

    def push(self, image: Image, reference: str) -> str:
        """Push the only image of the layout."""
        return digest_in(self.programs.run("crane", "push", image.name, reference))

    def pull(self, reference: str) -> str:
        """Pull to a new layout, and read there what came."""
        layout = self.fresh()
        self.programs.run("crane", "pull", "--format", "oci", reference, str(layout))
        return digest_in((layout / "index.json").read_text())

    def copy(self, source: str, target: str) -> None:
        """Copy from registry to registry, which both are ours."""
        self.programs.run("crane", "copy", source, target)

    def push_index(self, marker: str, reference: str) -> str:
        """Push the layout's index with all below it."""
        return self.push(Image(str(index_layout(self.fresh(), marker).directory)), reference)
