"""The distribution API over HTTP: parse, call one use case, answer."""
