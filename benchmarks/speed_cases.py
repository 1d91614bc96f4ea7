"""What the throughput benchmark measures, with whom it compares and what it asks for: data only.

Both sides of a comparison get the same bars, windows of the same sizes, the same random-action
policy and the same number of threads, build and write every observation, and their resets count in
the time but not as decisions. What is not alike:

* TorchTrade acts at a bin's close and looks at its execution bars only; gym_trade fills at the next
  bar's open and walks every base bar. TorchTrade has no one-step environment of many lanes, so that
  1024 one-step lanes stand beside its scalar one; both roll out at most 24 decisions, and
  gym_trade closes what is still open then. The steps in which gym_trade's one-step lanes are
  reset, every second one, are no decisions.
* gym-trading-env and gym-anytrading have one time frame and decide at every bar. Beside them
  gym_trade runs with one time frame, one window of 52 bars and a decision at every bar too, on the
  same 20,000 bars. ``peers/gymnasium_speed.py`` says what else they leave out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

PEER_FOLDER = Path(__file__).parent / "peers"
EPISODE_STEPS = 2000
ROLLOUT_STEPS = 24
SHORT_BARS = 20_000  # where a peer allocates as much as its frame is long
EPISODE: dict[str, Any] = {"episode_steps": EPISODE_STEPS}
ONE_FRAME: dict[str, Any] = EPISODE | {
    "time_frames": ["1min"],
    "window_sizes": [52],
    "execute_on": "1min",
}
BRACKETS: dict[str, Any] = {
    "stoploss_levels": (-0.02, -0.05),
    "takeprofit_levels": (0.05, 0.10),
}


class Case(NamedTuple):
    """One measurement of ours: `lanes` 0 is the scalar environment through ``gym.make``.

    `bars` limits the market to its first bars; None takes all.
    """

    name: str
    lanes: int
    task: str = "Trade-Sequential-v0"
    threads: int = 1
    options: dict[str, Any] = EPISODE
    bars: int | None = None


class PeerCase(NamedTuple):
    """One measurement of a peer's: `kind` is its environment, `lanes` 0 the scalar one."""

    name: str
    lanes: int
    kind: str = "sequential"
    threads: int = 1


class Peer(NamedTuple):
    """A peer: what it is called, the script that measures it, its cases and its number of bars."""

    title: str
    script: Path
    cases: tuple[PeerCase, ...]
    bars: int | None = None


class Comparison(NamedTuple):
    """A row of the table: our case, a peer's case, and the ratio that is asked for, if any."""

    ours: str
    peer: str
    theirs: str
    aim: float | None = None


SLTP = EPISODE | BRACKETS
ONE_STEP = BRACKETS | {"rollout_steps": ROLLOUT_STEPS}

CASES = (
    Case("scalar", 0),
    Case("64 lanes", 64),
    Case("1024 lanes", 1024),
    Case("1024 lanes, 2 threads", 1024, threads=2),
    Case("4096 lanes, 2 threads", 4096, threads=2),
    Case("SLTP: scalar", 0, "Trade-SLTP-v0", options=SLTP),
    Case("SLTP: 64 lanes", 64, "Trade-SLTP-v0", options=SLTP),
    Case("SLTP: 1024 lanes", 1024, "Trade-SLTP-v0", options=SLTP),
    Case("SLTP: 4096 lanes, 2 threads", 4096, "Trade-SLTP-v0", threads=2, options=SLTP),
    Case("one-step: scalar", 0, "Trade-OneStep-v0", options=ONE_STEP),
    Case("one-step: 1024 lanes", 1024, "Trade-OneStep-v0", options=ONE_STEP),
    Case("one time frame: scalar", 0, options=ONE_FRAME, bars=SHORT_BARS),
    Case("one time frame: 64 lanes", 64, options=ONE_FRAME, bars=SHORT_BARS),
)

_COPIES = (PeerCase("scalar", 0), PeerCase("64 copies", 64))
_TORCHTRADE = (
    PeerCase("scalar", 0),
    PeerCase("64 lanes", 64),
    PeerCase("1024 lanes", 1024),
    PeerCase("1024 lanes, 2 threads", 1024, threads=2),
    PeerCase("4096 lanes, 2 threads", 4096, threads=2),
    PeerCase("SLTP: scalar", 0, "sltp"),
    PeerCase("SLTP: 64 lanes", 64, "sltp"),
    PeerCase("SLTP: 1024 lanes", 1024, "sltp"),
    PeerCase("SLTP: 4096 lanes, 2 threads", 4096, "sltp", threads=2),
    PeerCase("one-step: scalar", 0, "one-step"),
)
PEERS = {
    "torchtrade": Peer("TorchTrade", PEER_FOLDER / "torchtrade_speed.py", _TORCHTRADE),
    "gym_trading_env": Peer(
        "gym-trading-env", PEER_FOLDER / "gymnasium_speed.py", _COPIES, SHORT_BARS
    ),
    "gym_anytrading": Peer(
        "gym-anytrading", PEER_FOLDER / "gymnasium_speed.py", _COPIES, SHORT_BARS
    ),
}

_TORCHTRADE_AIMS = {
    "scalar": 12.0,
    "64 lanes": 40.0,
    "1024 lanes": 7.0,
    "4096 lanes, 2 threads": 5.5,
    "SLTP: scalar": 10.0,
    "SLTP: 64 lanes": 40.0,
    "SLTP: 1024 lanes": 7.0,
    "SLTP: 4096 lanes, 2 threads": 5.5,
    "one-step: scalar": 30.0,
}
COMPARISONS = (
    *(
        Comparison(case.name, "torchtrade", case.name, _TORCHTRADE_AIMS.get(case.name))
        for case in _TORCHTRADE
    ),
    Comparison("one-step: 1024 lanes", "torchtrade", "one-step: scalar", 1000.0),
    Comparison("one time frame: scalar", "gym_trading_env", "scalar"),
    Comparison("one time frame: 64 lanes", "gym_trading_env", "64 copies"),
    Comparison("one time frame: scalar", "gym_anytrading", "scalar"),
    Comparison("one time frame: 64 lanes", "gym_anytrading", "64 copies"),
)

# Against the machine: 1024 lanes, flat, copy=False.
MACHINE_LANES = 1024
COPY_RATIO_AIM = 2.6  # at most, of a plain copy of the same bytes
INDEX_AIM = 20e6  # at least, lane-steps a second

# Over lanes and over bars.
LANE_COUNTS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
MARKET_BARS = (10_000, 100_000, 1_000_000, 5_000_000)
SWEEP_EPISODE_STEPS = 500  # the smallest of these markets has 1437 decisions

# From fresh processes.
CONSTRUCTION_BARS = MARKET_BARS[-1]
CONSTRUCTION_SECONDS_AIM = 6.0
CONSTRUCTION_BYTES_AIM = 1e9
WARM_SECONDS_AIM = 2.0
