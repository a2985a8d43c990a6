"""Which registry a request means."""

import pytest

from mirror.core.registries import Registries
from mirror.oci.errors import RegistryError

DEFAULT = "registry.example.com"
REGISTRIES = Registries(frozenset({DEFAULT, "other.example.com", "localhost:5001"}), DEFAULT)


@pytest.mark.parametrize(
    ("namespace", "host", "registry"),
    [
        ("other.example.com", "127.0.0.1:5000", "other.example.com"),
        ("localhost:5001", "127.0.0.1:5000", "localhost:5001"),
        ("other.example.com", DEFAULT, "other.example.com"),
        (None, "other.example.com", "other.example.com"),
        (None, "other.example.com:443", "other.example.com"),
        (None, "localhost:5001", "localhost:5001"),
        (None, "localhost", DEFAULT),
        (None, "127.0.0.1:5000", DEFAULT),
        (None, "[::1]:5000", DEFAULT),
        (None, "unknown.example.com", DEFAULT),
        (None, "", DEFAULT),
    ],
)
def test_the_namespace_then_the_host_then_the_default(namespace: str | None, host: str, registry: str) -> None:
    """`ns=` wins over the Host header, with or without its port; a host that says nothing means the default."""
    assert REGISTRIES.choose(namespace, host) == registry


@pytest.mark.parametrize("namespace", ["unknown.example.com", "", "localhost", "OTHER.example.com", "x" * 10_000])
def test_a_namespace_that_is_not_configured_does_not_exist(namespace: str) -> None:
    """It is refused even where the host or the default would do, and not echoed without end."""
    with pytest.raises(RegistryError, match="NAME_UNKNOWN") as refusal:
        REGISTRIES.choose(namespace, DEFAULT)
    assert len(refusal.value.detail) < 300
