"""The project's own table of what the distribution spec asks of a registry, each row with the test that proves it."""
