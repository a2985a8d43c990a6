"""Reading layers: whatever is no compressed tar is told apart, as containerd does when it unpacks."""

import io
import tarfile
import zlib

import zstandard

from mirror.oci.names import digest_of

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"


def diff_id(layer: bytes) -> str:
    """The digest of a layer's tar, whatever it is compressed with. Raises ValueError: it is damaged, or none."""
    try:
        data = _uncompressed(layer)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            tar.getmembers()
    except (zlib.error, zstandard.ZstdError, tarfile.TarError) as error:
        raise ValueError(str(error)) from error
    return digest_of(data)


def _uncompressed(layer: bytes) -> bytes:
    """The compression is told by the first bytes, never by the media type."""
    if layer.startswith(_GZIP):
        gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        data = gzip.decompress(layer)
        if not gzip.eof:
            raise ValueError("it ends too early")
        return data
    if layer.startswith(_ZSTD):
        return zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    return layer
