"""Benchmarks: what stands in the README's tables is measured and written from here."""

import data_tools.early_interrupts  # noqa: F401 - for ``python -m``
