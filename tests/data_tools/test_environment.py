"""--env, --env-config and --market: what they mean and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_tools.environment import (
    EnvironmentArgumentError,
    open_market,
    parse_env_arguments,
    reopen_market,
)
from gym_trade import MarketDataError


def features(bars: pd.DataFrame) -> pd.DataFrame:
    return bars[["close"]]


def test_values_are_json_or_else_strings() -> None:
    pairs = [
        "leverage=3", "slippage=1e-4", "reward=simple_return", "allow-short=true", "end=null",
        "action_levels=[-1, 0, 1]", 'start="2022-01-01"', "note=a=b", "empty=",
    ]  # fmt: skip
    assert parse_env_arguments(pairs) == {
        "leverage": 3, "slippage": 1e-4, "reward": "simple_return", "allow_short": True,
        "end": None, "action_levels": [-1, 0, 1], "start": "2022-01-01", "note": "a=b",
        "empty": "",
    }  # fmt: skip
    assert parse_env_arguments([]) == {}


def test_pairs_take_precedence_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"leverage": 2, "slippage": 0.001, "unheard_of": [1]}))
    found = parse_env_arguments(["leverage=5"], file)
    assert found == {"leverage": 5, "slippage": 0.001, "unheard_of": [1]}


def test_callables_are_imported_as_a_configuration_writes_them() -> None:
    found = parse_env_arguments(["features=callable:numpy:log"])
    assert found == {"features": np.log}
    with pytest.raises(ValueError, match="cannot be imported"):
        parse_env_arguments(["features=callable:numpy:nothing_here"])


@pytest.mark.parametrize(
    ("pairs", "part"),
    [
        (["leverage"], "expected KEY=VALUE"),
        (["=3"], "expected KEY=VALUE"),
        (["leverage=3", "leverage=4"], "--env leverage is given twice"),
        (["allow_short=True"], "write allow_short=true"),
        (["end=None"], "write end=null"),
    ],
)
def test_refuses_pairs(pairs: list[str], part: str) -> None:
    with pytest.raises(EnvironmentArgumentError, match=part):
        parse_env_arguments(pairs)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "holds a JSON list"),
        (b'{"leverage": 1, "leverage": 2}', "gives leverage twice"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_refuses_files(tmp_path: Path, content: bytes, part: str) -> None:
    file = tmp_path / "env.json"
    file.write_bytes(content)
    with pytest.raises(EnvironmentArgumentError, match=part) as caught:
        parse_env_arguments([], file)
    assert str(file) in str(caught.value)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentArgumentError, match=r"none\.json cannot be read"):
        parse_env_arguments([], tmp_path / "none.json")


def write_market(path: Path, *, price: float = 100.0, start: str = "2022-01-01") -> Path:
    close = price + np.sin(np.arange(50.0))
    open_ = close + 0.1
    frame = pd.DataFrame(
        {"open": open_, "high": open_ + 1, "low": close - 1, "close": close, "volume": 1.0},
        index=pd.date_range(start, periods=50, freq="h", name="timestamp"),
    )
    frame.to_csv(path)
    return path


def test_a_file_is_found_again_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_market(tmp_path / "m.csv")
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    market, description = open_market("m.csv", echo=lines.append)
    assert len(lines) == 1
    assert description == {
        "kind": "file", "path": str(tmp_path / "m.csv"), "content_hash": market.content_hash,
    }  # fmt: skip
    monkeypatch.chdir("/")
    assert reopen_market(json.loads(json.dumps(description)), echo=None) == market
    write_market(tmp_path / "m.csv", price=101.0)
    with pytest.raises(EnvironmentArgumentError, match=r"m\.csv has changed"):
        reopen_market(description, echo=None)
    (tmp_path / "m.csv").unlink()
    with pytest.raises(MarketDataError, match="does not exist"):
        reopen_market(description, echo=None)


def test_stamp_and_offset_reach_the_market(tmp_path: Path) -> None:
    path = write_market(tmp_path / "m.csv", start="2022-01-01 09:30")
    with pytest.raises(MarketDataError, match="offset"):
        open_market(str(path), echo=None)
    wanted = {"stamp": "close", "offset": "30min"}
    market, description = open_market(str(path), market_arguments=wanted, echo=None)
    assert market.open_times[0] == np.datetime64("2022-01-01T08:30")
    assert reopen_market(description, echo=None) == market


def test_synthetic_markets() -> None:
    market, description = open_market(None)
    assert description["name"] == "mean_reverting"
    assert open_market("synthetic:mean_reverting")[0] is market
    other, named = open_market("synthetic:martingale")
    assert other != market
    assert reopen_market(named) is other
    with pytest.raises(EnvironmentArgumentError, match="synthetic:mean_reverting, synthetic:mart"):
        open_market("synthetic:trend")
    with pytest.raises(EnvironmentArgumentError, match="market of kind None"):
        reopen_market({})
