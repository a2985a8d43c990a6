"""Hypothesis for the whole room: a slow machine is no failure, so no example has a deadline."""

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
