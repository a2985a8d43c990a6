"""Those who are asked whether an image may be pushed: a command or a service of this host."""
