"""Trading environments for Gymnasium: exact, fast, and without flattery.

Importing this package registers ``Trade-Sequential-v0`` and ``Trade-VectorSequential-v0``, so that
``gymnasium.make`` and ``gymnasium.make_vec`` find them.
"""

from gymnasium.envs.registration import register, registry

from gym_trade import metrics, synthetic
from gym_trade.config import SequentialConfig
from gym_trade.envs import SequentialEnv
from gym_trade.features import check_look_ahead, default_features
from gym_trade.market import Market
from gym_trade.timeframe import TimeFrame, parse_time_frame
from gym_trade.validation import MarketDataError
from gym_trade.vector import VectorTradeEnv

__version__ = "0.1.0"

__all__ = [
    "Market",
    "MarketDataError",
    "SequentialConfig",
    "SequentialEnv",
    "TimeFrame",
    "VectorTradeEnv",
    "check_look_ahead",
    "default_features",
    "metrics",
    "parse_time_frame",
    "synthetic",
]


def _register() -> None:
    for name in ("Trade-Sequential-v0", "Trade-VectorSequential-v0"):
        if name not in registry:
            register(
                id=name,
                entry_point="gym_trade.envs:SequentialEnv",
                vector_entry_point="gym_trade.vector:VectorTradeEnv",
            )


_register()
