"""A soak: pushes of all kinds under chaos, and then a look at whether every promise was kept."""
