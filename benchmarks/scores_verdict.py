"""What a check of the scores benchmark says; see `scores_checks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]
Check = dict[str, Any]
HOLDS, FAILS, UNKNOWN = "holds", "FAILS", "cannot be told"


def as_check(what: str, found: str, verdict: str) -> Check:
    """A row of the table: what must hold, what was found, and whether it does."""
    return {"what": what, "found": found, "verdict": verdict}
