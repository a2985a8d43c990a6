"""Prometheus metrics: what is counted as it happens, and what is looked up when somebody asks."""
