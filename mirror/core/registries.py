"""Which registry a request means: `ns=`, else the Host header, else the default. Only configured ones exist."""

from dataclasses import dataclass

from mirror.oci.errors import Problem, RegistryError


@dataclass(frozen=True, slots=True)
class Registries:
    """The configured registry names, and the one that is meant when none is named."""

    names: frozenset[str]
    default: str

    def choose(self, namespace: str | None, host: str) -> str:
        """The registry for a request.

        Raises:
            RegistryError: NAME_UNKNOWN when `namespace` names a registry that is not configured.
        """
        if namespace is not None:
            if namespace not in self.names:
                raise RegistryError(Problem.NAME_UNKNOWN, f"registry {namespace[:255]!r}")
            return namespace
        for name in (host, host.rpartition(":")[0]):
            if name in self.names:
                return name
        return self.default
