"""How many files and connections the process may have open."""

import resource


def allow_many_open_files() -> None:
    """Raise the soft limit to the hard one: it is only low for programs that use select(2) (systemd.exec(5))."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
