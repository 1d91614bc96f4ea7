"""What several tests of the scores benchmark share."""

from __future__ import annotations

import pytest

from tests.benchmarks.scores_samples import made_result, sweep


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A result with a cost sweep."""
    result = made_result(tmp_path_factory.mktemp("scores"))
    return result | {"costs": sweep(result)}
