"""Benchmarks: what stands in the README's tables is measured and written from here."""
