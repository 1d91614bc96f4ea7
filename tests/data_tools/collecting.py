"""What the tests of collecting share: a market file and a quiet call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_tools.collect import collect
from tests import markets

REPOSITORY = Path(__file__).resolve().parents[2]
COLUMNS = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next")


def write_market(path: Path) -> str:
    """900 hourly bars with wild moves."""
    markets.hourly(900, 7, move=0.03, gap=0.01).to_csv(path)
    return str(path)


def quiet(path: Path, market: str | None, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "buffer_size": 500, "num_envs": 7, "episode_steps": 30, "progress": False, "echo": None,
        "env": {"window_sizes": 6},
    }  # fmt: skip
    return collect(path, market=market, **(defaults | options))
