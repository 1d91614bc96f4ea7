"""The arguments that all environments share: default, meaning, check, JSON form."""

from __future__ import annotations

import abc
import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from gym_trade.arguments import (
    check_choice,
    decode,
    describe_value,
    encode,
    flag,
    instant,
    number,
    option,
    refuse,
    time_frame_names,
    whole,
    window_counts,
)
from gym_trade.market_source import as_markets, decode_markets, encode_markets
from gym_trade.rewards import check_reward
from gym_trade.timeframe import parse_time_frame
from gym_trade.types import REWARDS

FEATURES = ("default", "columns")
RENDER_MODES = ("rgb_array", "human")

ConfigType = TypeVar("ConfigType", bound="TradeConfig")

# What other packages call these arguments: an unknown name gets this answer.
PEER_NAMES = {
    "windows": "window_sizes",
    "window_size": "window_sizes",
    "timeframes": "time_frames",
    "trading_fees": "transaction_fee",
    "fee": "transaction_fee",
    "fees": "transaction_fee",
    "commission": "transaction_fee",
    "buy_cost_pct": "transaction_fee",
    "sell_cost_pct": "transaction_fee",
    "borrow_interest_rate": "funding_rate",
    "portfolio_initial_value": "initial_cash",
    "initial_amount": "initial_cash",
    "initial_balance": "initial_cash",
    "initial_capital": "initial_cash",
    "max_traj_length": "episode_steps",
    "max_episode_duration": "episode_steps",
    "max_episode_steps": "episode_steps",
    "positions": "action_levels",
    "reward_function": "reward",
    "data": "df",
    "frame_bound": "start and end",
    "max_leverage": "leverage",
    "bankruptcy_threshold": "bankrupt_threshold",
    "seed": "reset(seed=...)",
}
VECTOR_ARGUMENTS = ("num_envs", "autoreset_mode", "copy", "threads", "record_lane")


class Choice(NamedTuple):
    """A discrete action: see `types.CHOICE_DTYPE`."""

    operation: int
    level: float = 0.0
    stop: float = 0.0
    target: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TradeConfig(abc.ABC):
    """Arguments of every environment, checked and brought to one form when it is made.

    The classes of `config` add those that say what an action is. Every field is a keyword of
    ``gym.make``, ``gym.make_vec`` and the environments' classes, which also take the whole object
    as ``config=``. `to_json` and `from_json` round-trip; a market is stood for by its
    content hash. Each field's meaning is its ``metadata["help"]``.

    Raises:
        ValueError: A value is out of range or contradicts another; the message names the argument,
            the value and what is allowed.
    """

    df: Any = option(None, "frame, list or dict of frames, Market, or None: the embedded market")
    time_frames: Any = option(None, "window bar lengths; minute data: 1min 5min 15min 1hour")
    window_sizes: Any = option(None, "bars in each window; 12 8 8 24 for minute data, else 32")
    execute_on: Any = option(None, "decision interval; 5min for minute data, else every bar")
    features: Any = option(None, "None, 'default', 'columns', a callable, or one per time frame")
    stamp: str = option("open", "whether time stamps name a bar's 'open' or its 'close'")
    offset: Any = option(None, "shift of the bar grid from the UTC epoch, such as '30min'")
    start: Any = option(None, "first decision instant to use")
    end: Any = option(None, "last decision instant to use; no bar is walked beyond it")
    initial_cash: Any = option(10_000.0, "quote currency, or a (low, high) range drawn from")
    leverage: float = option(1.0, "1 is spot; up to 125")
    allow_short: bool | None = option(None, "None: with leverage above 1 only")
    transaction_fee: float = option(0.0004, "fraction of traded notional, every fill")
    slippage: float = option(0.0, "adverse fraction of the price")
    slippage_model: str = option("fixed", "'fixed', or 'uniform' in [0, slippage]")
    fill_at: str = option("next_open", "'next_open', or 'close': optimistic")
    lot_size: float = option(0.0, "traded quantities are rounded down to multiples; 0: any")
    min_notional: float = option(0.0, "smaller orders are refused, in quote currency")
    margin_mode: str = option("cross", "'cross' or 'isolated'")
    maintenance_margin_rate: float = option(0.004, "of notional; below 1/leverage")
    liquidation_fee: float | None = option(None, "None: the transaction fee")
    margin_call_threshold: float | None = option(None, "of the initial margin; closes at a close")
    funding_rate: Any = option(None, "per 8 hours, a number or a column; longs pay if positive")
    bankrupt_threshold: float = option(0.1, "of the initial cash; below it the episode terminates")
    episode_steps: int | None = option(None, "decisions an episode; None: to the end of the data")
    random_start: bool = option(True, "start anywhere that leaves a full episode")
    reward: Any = option("log_return", f"a callable, or one of {', '.join(REWARDS)}")
    observation: str = option("dict", "'dict', 'flat' or 'index'")
    render_mode: str | None = option(None, "None, 'rgb_array' or 'human'")

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_actions()
        self._check_market()
        check_reward(self.reward)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_choices(self) -> None:
        check_choice("stamp", self.stamp, ("open", "close"))
        check_choice("slippage_model", self.slippage_model, ("fixed", "uniform"))
        check_choice("fill_at", self.fill_at, ("next_open", "close"))
        check_choice("margin_mode", self.margin_mode, ("cross", "isolated"))
        check_choice("observation", self.observation, ("dict", "flat", "index"))
        if self.render_mode is not None:
            check_choice("render_mode", self.render_mode, RENDER_MODES)
        self._set("random_start", flag("random_start", self.random_start))
        if self.allow_short is not None:
            self._set("allow_short", flag("allow_short", self.allow_short))

    def _check_numbers(self) -> None:
        self._set("leverage", number("leverage", self.leverage, 1.0, 125.0))
        for name in ("transaction_fee", "slippage", "bankrupt_threshold",
                     "maintenance_margin_rate", "liquidation_fee"):  # fmt: skip
            value = getattr(self, name)
            if not (value is None and name == "liquidation_fee"):
                self._set(name, number(name, value, 0.0, 1.0, below=True))
        for name in ("lot_size", "min_notional"):
            self._set(name, number(name, getattr(self, name), 0.0))
        if self.margin_call_threshold is not None:
            threshold = number(
                "margin_call_threshold", self.margin_call_threshold, 0, 1, above=True
            )
            self._set("margin_call_threshold", threshold)
        if self.funding_rate is not None and not isinstance(self.funding_rate, str):
            self._set("funding_rate", number("funding_rate", self.funding_rate, -1.0, 1.0))
        if self.episode_steps is not None:
            self._set("episode_steps", whole("episode_steps", self.episode_steps, 1))
        self._check_cash()
        if self.transaction_fee * self.leverage >= 1.0:
            raise ValueError(
                f"transaction_fee={self.transaction_fee} times leverage={self.leverage:g} must be "
                "below 1: the fee would eat the whole equity. Lower either."
            )
        if self.maintenance_margin_rate >= 1.0 / self.leverage:
            raise ValueError(
                f"maintenance_margin_rate={self.maintenance_margin_rate} must be below "
                f"1/leverage={1.0 / self.leverage:g}: a full position would be liquidated at once. "
                "Lower either."
            )

    def _check_cash(self) -> None:
        cash = self.initial_cash
        if isinstance(cash, tuple | list):
            if len(cash) != 2:
                raise ValueError(f"initial_cash={cash!r}: expected a number or a (low, high) pair.")
            low = number("initial_cash", cash[0], 0.0, above=True)
            self._set("initial_cash", (low, number("initial_cash", cash[1], low)))
        else:
            self._set("initial_cash", number("initial_cash", cash, 0.0, above=True))

    def _check_actions(self) -> None:  # noqa: B027 - nothing to check is legal
        """Check what says which actions there are."""

    def _check_market(self) -> None:
        self._set("time_frames", time_frame_names(self.time_frames))
        self._set("window_sizes", window_counts(self.window_sizes))
        frames, sizes = self.time_frames, self.window_sizes
        if frames and sizes and len(sizes) not in (1, len(frames)):
            raise ValueError(
                f"window_sizes={sizes} has {len(sizes)} elements for {len(frames)} time_frames "
                f"{frames}: expected one each, or one number for all."
            )
        for name in ("execute_on", "offset"):
            if getattr(self, name) is not None:
                self._set(name, parse_time_frame(getattr(self, name), name).name)
        self._check_features()
        for name in ("start", "end"):
            self._set(name, instant(name, getattr(self, name)))
        columns = (self.funding_rate,) if isinstance(self.funding_rate, str) else ()
        self._set("df", as_markets(self.df, self.stamp, self.offset, columns))

    def _check_features(self) -> None:
        features = self.features
        choices = features.values() if isinstance(features, Mapping) else [features]
        for choice in choices:
            known = choice is None or (isinstance(choice, str) and choice in FEATURES)
            if not (known or callable(choice)):
                names = ", ".join(map(repr, FEATURES))
                raise refuse(
                    "features", choice, f"None, {names}, a callable, or one of these by time frame"
                )
        if isinstance(features, Mapping):
            named = {parse_time_frame(k, "features").name: f for k, f in features.items()}
            self._set("features", named)

    @property
    def shorts(self) -> bool:
        """Whether short positions are allowed."""
        return self.leverage > 1.0 if self.allow_short is None else self.allow_short

    @property
    def continuous(self) -> bool:
        """Whether an action is a level, instead of an index into `choices`."""
        return False

    @property
    def rollout(self) -> bool:
        """Whether one environment step is a whole rollout of decision steps."""
        return False

    @property
    @abc.abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """What each discrete action means."""

    @property
    def longest_episode(self) -> int | None:
        """Decision steps after which an episode is over; None: at the end of the data."""
        return self.episode_steps

    @property
    def episode_limits(self) -> str:
        """The arguments behind `longest_episode`, for messages."""
        return f"episode_steps={self.episode_steps}"

    @classmethod
    def from_arguments(
        cls: type[ConfigType], config: ConfigType | None, arguments: Mapping[str, Any]
    ) -> ConfigType:
        """Combine ``config=`` with keywords, which take precedence.

        Raises:
            ValueError: An unknown keyword, with the name that was probably meant.
        """
        if config is not None and type(config) is not cls:
            raise refuse("config", config, f"a {cls.__name__}; a market is df=")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in arguments:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean {near[0]}?" if near else ""
                if name in PEER_NAMES:
                    hint = f" Here it is called {PEER_NAMES[name]}."
                if name in VECTOR_ARGUMENTS:
                    hint = " It belongs to vector environments: use gym.make_vec."
                raise ValueError(
                    f"unknown argument {name}={describe_value(arguments[name])}.{hint} Known: "
                    f"{', '.join(known)}."
                )
        return cls(**arguments) if config is None else config.replace(**arguments)

    def replace(self: ConfigType, **changes: Any) -> ConfigType:
        """The same configuration with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """This configuration as JSON text; a market is written as its content hash.

        Raises:
            ValueError: A callable has no importable name.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["df"] = encode_markets(self.df)
        return json.dumps({name: encode(name, value) for name, value in fields.items()})

    @classmethod
    def from_json(cls: type[ConfigType], text: str, df: Any = None) -> ConfigType:
        """Read what `to_json` wrote.

        Args:
            text: The JSON text.
            df: The market; it must have the content hash that the text names. Without it the field
                holds a reference, and no environment can be made from the configuration yet.

        Raises:
            ValueError: Unknown fields, or a market of other content.
        """
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise refuse("text", text, "a JSON object as to_json writes it")
        encoded = fields.pop("df", None)
        fields = {name: decode(name, value) for name, value in fields.items()}
        config = cls.from_arguments(None, fields | {"df": decode_markets(encoded)})
        if df is None:
            return config
        given = config.replace(df=df)
        if encode_markets(given.df) != encoded:
            raise ValueError(
                f"df: its content hash is {encode_markets(given.df)}, but the configuration was "
                f"written for {encoded}. Pass that market, or use replace(df=...) to change it."
            )
        return given
