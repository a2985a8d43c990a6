"""From the settings of an upstream to what a connection there needs: TLS, credentials, a proxy."""

import ssl

from yarl import URL

from mirror import config
from mirror.core.errors import UpstreamError
from mirror.upstream.credentials import DockerConfig, PasswordFile, TokenFile
from mirror.upstream.tls import tls_context
from mirror.upstream.transport import Proxy

_Secrets = PasswordFile | TokenFile | DockerConfig


def connection(name: str, upstream: config.Upstream) -> tuple[ssl.SSLContext | None, _Secrets | None, Proxy | None]:
    """TLS, credentials and the proxy for an upstream. Raises SettingsError when a file of theirs cannot be used."""
    return trust(name, upstream), *secrets(name, upstream)


def trust(name: str, upstream: config.Upstream) -> ssl.SSLContext | None:
    """TLS towards an upstream, None for that of the system. Raises SettingsError when a file cannot be used."""
    if upstream.ca_file is None and upstream.client_cert is None:
        return None
    try:
        return tls_context(upstream.ca_file, upstream.client_cert, upstream.client_key)
    except ValueError as error:
        raise config.SettingsError(f"upstreams.{name}: {error}") from error


def secrets(name: str, upstream: config.Upstream) -> tuple[_Secrets | None, Proxy | None]:
    """Credentials and the proxy for an upstream. Raises SettingsError when a file of theirs cannot be used."""
    credentials, proxy = _credentials(name, upstream), _proxy(upstream)
    try:
        for source in (credentials, proxy and proxy.login):
            if source:
                source.check()
    except UpstreamError as error:
        raise config.SettingsError(f"upstreams.{name}: {error}") from error
    return credentials, proxy


def _credentials(name: str, upstream: config.Upstream) -> _Secrets | None:
    if upstream.username is not None and upstream.password_file is not None:
        return PasswordFile(upstream.username, upstream.password_file)
    if upstream.token_file is not None:
        return TokenFile(upstream.token_file)
    if upstream.docker_config is not None:
        return DockerConfig(upstream.docker_config, (URL(upstream.url).host_port_subcomponent or "", name))
    return None


def _proxy(upstream: config.Upstream) -> Proxy | None:
    if upstream.proxy is None:
        return None
    login = None
    if upstream.proxy_username is not None and upstream.proxy_password_file is not None:
        login = PasswordFile(upstream.proxy_username, upstream.proxy_password_file)
    return Proxy(URL(upstream.proxy), login)
