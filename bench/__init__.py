"""Measurements, each against a real peer in the same run: absolute times depend on the machine, ratios less so."""
