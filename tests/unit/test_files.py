"""How many files the process may have open."""

import resource

from mirror.runtime.files import allow_many_open_files


def test_the_soft_limit_is_raised() -> None:
    """To the hard one, which only root may raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    allow_many_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
