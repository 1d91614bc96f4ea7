"""Trading environments for Gymnasium: exact, fast, and without flattery.

Importing this package registers ``Trade-Sequential-v0``, ``Trade-SLTP-v0``, ``Trade-OneStep-v0``
and ``Trade-VectorSequential-v0``, so that ``gymnasium.make`` and ``gymnasium.make_vec`` find them.
"""

from gymnasium.envs.registration import register, registry

from gym_trade import metrics, synthetic
from gym_trade.base_config import Choice, TradeConfig
from gym_trade.config import OneStepConfig, SequentialConfig, SLTPConfig
from gym_trade.envs import OneStepEnv, SequentialEnv, SLTPEnv, TradeEnv
from gym_trade.features import check_look_ahead, default_features
from gym_trade.live import account_state, observe
from gym_trade.market import Market
from gym_trade.timeframe import TimeFrame, parse_time_frame
from gym_trade.validation import MarketDataError
from gym_trade.vector import VectorOneStepEnv, VectorSLTPEnv, VectorTradeEnv

__version__ = "0.1.0"

__all__ = [
    "Choice",
    "Market",
    "MarketDataError",
    "OneStepConfig",
    "OneStepEnv",
    "SLTPConfig",
    "SLTPEnv",
    "SequentialConfig",
    "SequentialEnv",
    "TimeFrame",
    "TradeConfig",
    "TradeEnv",
    "VectorOneStepEnv",
    "VectorSLTPEnv",
    "VectorTradeEnv",
    "account_state",
    "check_look_ahead",
    "default_features",
    "metrics",
    "observe",
    "parse_time_frame",
    "synthetic",
]


ENTRY_POINTS = {
    "Trade-Sequential-v0": ("SequentialEnv", "VectorTradeEnv"),
    "Trade-VectorSequential-v0": ("SequentialEnv", "VectorTradeEnv"),
    "Trade-SLTP-v0": ("SLTPEnv", "VectorSLTPEnv"),
    "Trade-OneStep-v0": ("OneStepEnv", "VectorOneStepEnv"),
}


def _register() -> None:
    for name, (scalar, batch) in ENTRY_POINTS.items():
        if name not in registry:
            register(
                id=name,
                entry_point=f"gym_trade.envs:{scalar}",
                vector_entry_point=f"gym_trade.vector:{batch}",
            )


_register()
