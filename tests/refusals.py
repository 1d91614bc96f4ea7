"""The message of a refused market."""

from __future__ import annotations

import pandas as pd
import pytest

from gym_trade import Market, MarketDataError


def refusal(frame, **arguments):
    """The message of a refused frame, which is left exactly as it was."""
    before = frame.copy(deep=True)
    with pytest.raises(MarketDataError) as caught:
        Market(frame, **arguments)
    pd.testing.assert_frame_equal(frame, before)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)
