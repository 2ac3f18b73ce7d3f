"""Benchmarks that nobody has run for a while still run."""
