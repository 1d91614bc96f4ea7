"""What tests of every package share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked import Interpreter


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """Runs command lines of Python in processes that begin with torch loaded."""
    root = Path(__file__).resolve().parent.parent
    with Interpreter(tmp_path_factory.mktemp("python"), root) as interpreter:
        yield interpreter
