"""Measurements, side by side with peers in the same run: `make bench`, docs/benchmarks.md."""
