"""Tables of good and bad values of arguments, as parameters of a test."""

from __future__ import annotations

import pytest


def cases(table):
    """A parameter for each value that `table` (argument name -> list of tuples) lists."""
    return [
        pytest.param(name, *case, id=f"{name}-{number}")
        for name, group in table.items()
        for number, case in enumerate(group)
    ]
