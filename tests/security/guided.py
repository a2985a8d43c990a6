"""Fuzzing that is guided by what code it reaches: `python -m tests.security.guided TARGET [options of libFuzzer]`.

A target reads what callers send. Whatever that is, it comes to an end, within bounds of time (libFuzzer's `-timeout`)
and memory, with a result or with the error that says that it is none.
"""

import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import atheris

with atheris.instrument_imports(include=["mirror"]):
    from joserfc.jwk import ECKey

    from mirror.core.upload import parse_content_range
    from mirror.http.prefer import parse
    from mirror.identity.caller import UnidentifiedError
    from mirror.identity.jwt import Expected, JwtVerifier
    from mirror.oci.errors import RegistryError
    from mirror.oci.manifest import parse_config, parse_manifest
    from mirror.oci.names import parse_path, parse_reference, split_image
    from tests.unit.clock import ManualClock

_REGISTRY = "registry.example.com"
# libFuzzer's own limit is of no use where a large process has started this one: Linux counts its size then, too.
_MOST_MEMORY = 512 * 1024 * 1024


def _names(data: bytes) -> None:
    text = data.decode("latin-1")
    for read in (parse_path, parse_reference, lambda name: split_image(name, frozenset({_REGISTRY}), _REGISTRY)):
        with suppress(RegistryError):
            read(text)


def _ranges(data: bytes) -> None:
    text = data.decode("latin-1")
    with suppress(RegistryError):
        parse_content_range(text, len(data))
    list(parse(text))


def _manifests(data: bytes) -> None:
    with suppress(RegistryError):
        parse_manifest(data)
    with suppress(RegistryError):
        parse_config(data)


def _tokens(data: bytes) -> None:
    with suppress(UnidentifiedError):
        _verifier().principal(data.decode("latin-1"))


@cache
def _verifier() -> JwtVerifier:
    key = Path(mkdtemp(), "key.pem")
    key.write_bytes(ECKey.generate_key("P-256").as_pem(private=False))
    return JwtVerifier(key, Expected("registry-mirror", "https://auth.example.com", "tenant"), ManualClock())


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "names": _names,
    "ranges": _ranges,
    "manifests": _manifests,
    "tokens": _tokens,
}


def main() -> None:
    """Fuzz one target until libFuzzer's options say that it is enough, or something is found."""
    name, *options = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    atheris.Setup([sys.argv[0], "-rss_limit_mb=0", *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
