from __future__ import annotations

import fractions

import numpy as np
import pytest

from data_tools import statistics
from data_tools.statistics import column_statistics


def price_like(rows: int) -> np.ndarray:
    """Columns at price level, of returns, constant, and with one outlier."""
    rng = np.random.default_rng(1)
    columns = [
        rng.normal(30_000.0, 1.0, rows),
        rng.normal(0.0, 1e-4, rows),
        np.full(rows, 0.1),
        (np.arange(rows) == 3).astype(float),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def exact(column: np.ndarray) -> tuple[float, float]:
    values = [fractions.Fraction(float(value)) for value in column]
    mean = sum(values) / len(values)
    return float(mean), float(sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5


@pytest.mark.parametrize("block", [1, 7, 100_000])
def test_they_are_exact_also_at_price_level(monkeypatch, block):
    monkeypatch.setattr(statistics, "BLOCK_ROWS", block)
    values = price_like(500)
    made = column_statistics(values, np.arange(500))
    for column in (0, 1, 3):
        mean, std = exact(values[:, column])
        assert made.mean[column] == pytest.approx(mean, rel=1e-13)
        assert made.std[column] == pytest.approx(std, rel=1e-9)
    assert (made.mean[2], made.std[2]) == (0.0, 1.0)  # constant: left alone
    assert made.mean.dtype == made.std.dtype == np.float64


def test_only_the_named_rows_count():
    values = price_like(100)
    values[50:] = np.inf
    made = column_statistics(values, np.arange(50)[::-1].copy())
    expected = column_statistics(values[:50], np.arange(50))
    np.testing.assert_allclose(made.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(made.std, expected.std, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad):
    values = price_like(600)
    values[555, 1] = bad
    with pytest.raises(ValueError, match=r"row 555, column 1 .* not finite"):
        column_statistics(values, np.arange(600))
