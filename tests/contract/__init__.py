"""The contracts of the ports, each tested on the real part behind it."""
