"""A configuration made runnable: its markets joined into arrays, its rules, its lanes.

Both faces of an environment, scalar (`envs`) and vector (`vector`), drive one of these. Several
markets are laid behind one another in the same arrays; each owns a range of decisions.
"""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gym_trade import kernel, types
from gym_trade.config import SequentialConfig
from gym_trade.grid import Grid, decision_ranges, join_tables, market_tables, settlement_rates
from gym_trade.jit import numba_config
from gym_trade.market_source import resolve_markets
from gym_trade.metrics import NAMES, summarise
from gym_trade.observing import write_exposures
from gym_trade.rewards import custom_reward, reward_code
from gym_trade.types import Bool, Float32, Float64, Int64

# Below this many lanes a thread, handing out the work costs more than it saves.
LANES_PER_THREAD = 256
AUTORESET_CODES = {"NextStep": types.NEXT_STEP, "SameStep": types.SAME_STEP}
AUTORESET_CODES["Disabled"] = types.DISABLED
SEED_LIMIT = 2**63


def plain(records: types.Record) -> types.Record:
    """A record array as compiled code takes it: the same memory as a plain structured array.

    Numba looks at an argument's attributes, and those of a recarray are Python code: it takes three
    times as long, and a Ctrl-C that arrives meanwhile is lost. Un-jitted code needs the recarray.
    """
    return records if numba_config.DISABLE_JIT else np.asarray(records)


def make_rules(config: SequentialConfig, autoreset: int) -> Any:
    """The configuration's numbers as the kernel's record, shape (1,)."""
    rules = np.zeros(1, types.RULES_DTYPE).view(np.recarray)
    rule = rules[0]
    fee = config.transaction_fee
    rule.leverage, rule.fee_rate = config.leverage, fee
    rule.liquidation_fee_rate = fee if config.liquidation_fee is None else config.liquidation_fee
    rule.slippage = config.slippage
    rule.uniform_slippage = config.slippage_model == "uniform"
    rule.fill_at_close = config.fill_at == "close"
    rule.isolated = config.margin_mode == "isolated"
    rule.maintenance_rate = config.maintenance_margin_rate
    rule.margin_call_threshold = config.margin_call_threshold or 0.0
    rule.has_funding = config.funding_rate is not None
    continuous = config.action_type == "continuous"
    rule.rebalance_threshold = config.rebalance_threshold if continuous else 0.0
    rule.lot_size, rule.min_notional = config.lot_size, config.min_notional
    rule.bankrupt_threshold = config.bankrupt_threshold
    cash = config.initial_cash
    rule.cash_low, rule.cash_high = cash if isinstance(cash, tuple) else (cash, cash)
    rule.episode_steps = config.episode_steps or 0
    rule.random_start = config.random_start
    rule.reward = reward_code(config.reward)
    rule.autoreset = autoreset
    return rules


class Engine:
    """The lanes of one configuration.

    Args:
        config: The configuration.
        num_envs: Number of lanes.
        autoreset: "NextStep", "SameStep" or "Disabled".
        threads: Threads that share the lanes of a step.
        record_fills: Whether each step's fills are kept in `fills`.

    Raises:
        ValueError: The configuration does not fit its market.
    """

    def __init__(
        self,
        config: SequentialConfig,
        num_envs: int,
        autoreset: str = "Disabled",
        threads: int = 1,
        record_fills: bool = False,
    ) -> None:
        self.config, self.num_envs, self.autoreset = config, num_envs, autoreset
        self.threads, self.record_fills = threads, record_fills
        self.market_names, self.markets = resolve_markets(config.df)
        self._prepare()
        lanes: Any = np.zeros(num_envs, types.LANE_DTYPE).view(np.recarray)
        lanes.ended = 1  # nothing runs before the first reset
        self.lanes: types.Record = lanes
        self.seeded = False

    def _prepare(self) -> None:
        """Everything that follows from the configuration alone."""
        config, count = self.config, self.num_envs
        tables = market_tables(config, self.market_names, self.markets)
        self.tables, self.all_tables = tables[0], tuple(tables)
        self.ranges = decision_ranges(config, self.market_names, tables)
        self.grid: Grid = join_tables(self.markets, tables)
        self.global_ranges = self.ranges + self.grid.first_decisions[:, None]
        funding = settlement_rates(config.funding_rate, self.markets)
        self.market_arrays = (self.grid.bars, funding, self.grid.bar_end)
        self.indexed = config.observation == "index"
        self.windows = (self.grid.starts, self.tables.lengths)
        if self.indexed:
            self.windows = (self.grid.starts[:, :0], self.tables.lengths[:0])
        self.width = int(self.windows[1].sum()) + types.ACCOUNT_STATE_WIDTH
        self.rules = make_rules(config, AUTORESET_CODES[self.autoreset])
        self.levels = np.array(config.levels) if config.action_type == "discrete" else None
        self.rewards, self.previous_equities = np.zeros(count), np.zeros(count)
        self.equities = np.zeros(count)
        self.terminated, self.truncated = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        slots = types.FILL_SLOTS if self.record_fills else 0
        self.fills: Any = np.zeros((count, slots), types.FILL_DTYPE).view(np.recarray)
        same_step = self.autoreset == "SameStep"
        self.finals = np.zeros((count if same_step else 0, self.width), np.float32)
        workers = min(self.threads, max(1, count // LANES_PER_THREAD))
        self._workers = workers
        edges = np.linspace(0, count, workers + 1).astype(int).tolist()
        self._shares = list(itertools.pairwise(edges))
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        names = ("config", "num_envs", "autoreset", "threads", "record_fills", "lanes", "seeded")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lanes = np.asarray(self.lanes).view(np.recarray)
        self.market_names, self.markets = resolve_markets(self.config.df)
        self._prepare()

    def seed(self, seeds: Int64) -> None:
        """Give every lane its seed; the next reset begins its episode 0."""
        self.lanes.seed = seeds
        self.lanes.episode = -1
        self.seeded = True

    def reset(self, mask: Bool, observations: Float32, *, observe_all: bool = True) -> None:
        """Begin the next episode on the lanes of `mask` and write observations."""
        if not self.seeded:
            base = int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) >> 2
            self.seed(base + np.arange(self.num_envs))
        self.lanes.episode[mask] += 1
        kernel.reset_lanes(
            mask,
            observe_all,
            plain(self.lanes),
            plain(self.rules),
            self.global_ranges,
            self.market_arrays,
            self.windows,
            self.grid.features,
            observations,
        )

    def step(self, levels: Float64, observations: Float32) -> None:
        """Step every lane towards its level; results lie in this object's arrays."""
        out = (
            observations,
            self.finals,
            self.rewards,
            self.previous_equities,
            self.equities,
            self.terminated,
            self.truncated,
        )
        arguments = (
            plain(self.lanes),
            plain(self.rules),
            self.global_ranges,
            self.market_arrays,
            self.windows,
            self.grid.features,
            levels,
            out,
            plain(self.fills),
        )
        if self._workers == 1:
            kernel.step_lanes(0, self.num_envs, *arguments)
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers)
            work = [self._pool.submit(kernel.step_lanes, *share, *arguments)
                    for share in self._shares]  # fmt: skip
            for share in work:
                share.result()
        if callable(self.config.reward):
            self._custom_rewards()

    def step_some(
        self, index: Int64, levels: Float64, observations: Float32
    ) -> tuple[Float64, Bool, Bool]:
        """Step the lanes of `index` alone: (rewards, terminated, truncated), in its order.

        The lanes are taken out, stepped as a batch of their own by the same kernel and put back.
        """
        part = object.__new__(Engine)
        part.__dict__.update(self.__dict__)
        count = part.num_envs = len(index)
        part.lanes = self.lanes[index].view(np.recarray)
        part.rewards, part.previous_equities = np.zeros(count), np.zeros(count)
        part.equities = np.zeros(count)
        part.terminated, part.truncated = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        part.fills, part._workers = self.fills[index].view(np.recarray), 1
        part.step(levels, observations)
        self.lanes[index] = part.lanes
        self.fills[index] = part.fills
        return part.rewards, part.terminated, part.truncated

    def _custom_rewards(self) -> None:
        lanes = self.lanes
        begun = lanes.steps == 0  # lanes that NEXT_STEP has just reset earn nothing
        equity = np.maximum(self.equities, 0.0)
        inputs = {
            "previous_equity": self.previous_equities.copy(),
            "equity": self.equities.copy(),
            "initial_cash": lanes.initial_cash.copy(),
            "exposure": self.exposure(),
            "position": lanes.quantity.copy(),
            "price": lanes.price.copy(),
            "fees_paid": lanes.fees.copy(),
            "turnover": lanes.turnover.copy(),
            "drawdown": 1.0 - equity / np.maximum(lanes.peak_equity, equity),
            "terminated": self.terminated.copy(),
            "truncated": self.truncated.copy(),
        }
        rewards = custom_reward(self.config.reward, inputs, self.num_envs)
        self.rewards[:] = np.where(begun, 0.0, rewards)

    def exposure(self) -> Float64:
        """Notional over equity of every lane, 0.0 where equity is not positive."""
        exposure: Float64 = np.empty(self.num_envs)
        write_exposures(plain(self.lanes), exposure)
        return exposure

    def decision_index(self) -> Int64:
        """Each lane's decision instant, counted within its own market."""
        index: Int64 = self.lanes.decision - self.grid.first_decisions[self.lanes.market]
        return index

    def metrics(self, lane: int) -> dict[str, float]:
        """The metrics of one lane's episode so far."""
        record = self.lanes[lane]
        return summarise(record, float(self.grid.periods_per_year[record.market]))

    def metric_columns(self, mask: Bool) -> dict[str, Any]:
        """The metrics of the lanes of `mask`, each float64 (n,) and 0 elsewhere, with its mask."""
        columns: dict[str, Any] = {name: np.zeros(self.num_envs) for name in NAMES}
        for lane in np.flatnonzero(mask).tolist():
            for name, value in self.metrics(lane).items():
                columns[name][lane] = value
        return columns | {f"_{name}": mask.copy() for name in NAMES}

    @functools.cached_property
    def level_range(self) -> tuple[float, float]:
        """The box of a continuous level."""
        return (-1.0 if self.config.shorts else 0.0), 1.0

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
