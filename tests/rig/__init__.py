"""Real parts on a leash: private instances of what the daemon meets on a host, each in a directory of its own.

Nothing in here knows pytest, so that the suite, `make demo`, `make run` and the benchmarks start the same things.
"""
