"""The use cases that keep books: on a real journal and real leases, with time in the hands of the test."""
