"""The settings: one TOML file, checked as a whole before anything starts. Only `app` and `cli` read them."""

from mirror.config.access import Identity, Jwt, Kind, Rule
from mirror.config.file import DEFAULT_PATH, SettingsError, load
from mirror.config.host import Containerd, Disk, Journal, Log, Retention, Shutdown, Tracing, Unpack, Uploads
from mirror.config.listeners import Admin, Callers, Http, Listener, Tenants, Tls, push_socket
from mirror.config.settings import Settings
from mirror.config.upstreams import PullThrough, Replication, Upstream
from mirror.config.variants import VariantRule, Variants
from mirror.config.verify import Verify

__all__ = [
    "DEFAULT_PATH",
    "Admin",
    "Callers",
    "Containerd",
    "Disk",
    "Http",
    "Identity",
    "Journal",
    "Jwt",
    "Kind",
    "Listener",
    "Log",
    "PullThrough",
    "Replication",
    "Retention",
    "Rule",
    "Settings",
    "SettingsError",
    "Shutdown",
    "Tenants",
    "Tls",
    "Tracing",
    "Unpack",
    "Uploads",
    "Upstream",
    "VariantRule",
    "Variants",
    "Verify",
    "load",
    "push_socket",
]
