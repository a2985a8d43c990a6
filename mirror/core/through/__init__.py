"""Pulling through: what is not here comes from the upstream, and stays for a while."""
