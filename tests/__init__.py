"""The suite; `tests.rig` starts the real parts that it, the demo and the benchmarks run against."""
