"""From the layers of an image to the steps that unpack it."""

from collections.abc import Sequence

from mirror.core.errors import BadLayerError
from mirror.core.ports import Extraction
from mirror.oci.manifest import Descriptor, chain_ids


def extractions(layers: Sequence[Descriptor], diff_ids: list[str]) -> list[Extraction]:
    """What unpacking an image takes. Raises BadLayerError when config and manifest are at odds."""
    if len(diff_ids) != len(layers):
        raise BadLayerError(f"{len(layers)} layers but {len(diff_ids)} diff IDs")
    chain = chain_ids(diff_ids)
    below = ["", *chain[:-1]] if chain else []
    return [
        Extraction(layer, diff_id=diff_id, chain_id=chain_id, parent=parent)
        for layer, diff_id, chain_id, parent in zip(layers, diff_ids, chain, below, strict=True)
    ]
