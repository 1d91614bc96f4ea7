"""A configuration made runnable: its markets joined into arrays, its rules, its lanes.

Both faces of an environment, scalar (`envs`) and vector (`vector`), drive one of these. Several
markets are laid behind one another in the same arrays; each owns a range of decisions.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gym_trade import lanes as lane_loop
from gym_trade import types
from gym_trade.base_config import TradeConfig
from gym_trade.grid import Grid, decision_ranges, join_tables, market_tables, settlement_rates
from gym_trade.market_source import resolve_markets
from gym_trade.metrics import NAMES, write_all_metrics
from gym_trade.recorder import Recorder, empty_journal
from gym_trade.rewards import INPUTS, custom_reward
from gym_trade.rules import AUTORESET_CODES, make_choices, make_lanes, make_rules, plain
from gym_trade.types import Bool, Float32, Float64, Int64

# Below this many lanes a thread, handing out the work costs more than it saves.
LANES_PER_THREAD = 256
SEED_LIMIT = 2**63
NO_ACTIONS = np.zeros(0, np.int64)
NO_LEVELS = np.zeros(0)


class RefusedActionError(ValueError):
    """The action of lane `lane` is out of range, or NaN; nothing was stepped."""

    def __init__(self, lane: int) -> None:
        super().__init__(lane)
        self.lane = lane


class Engine:
    """The lanes of one configuration.

    Args:
        config: The configuration.
        num_envs: Number of lanes.
        autoreset: "NextStep", "SameStep" or "Disabled".
        threads: Threads that share the lanes of a step.
        recorded_lane: The lane whose episode is kept in `recorder`; None: none.

    Raises:
        ValueError: The configuration does not fit its market.
    """

    def __init__(
        self,
        config: TradeConfig,
        num_envs: int,
        autoreset: str = "Disabled",
        threads: int = 1,
        recorded_lane: int | None = None,
    ) -> None:
        self.config, self.num_envs, self.autoreset = config, num_envs, autoreset
        self.threads, self.recorded_lane = threads, recorded_lane
        self.span = (config.longest_episode or 1) if config.rollout else 1
        self.recorder = None if recorded_lane is None else Recorder(recorded_lane, self.span)
        self.lanes: types.Record = make_lanes(num_envs)
        self.lanes.ended = 1  # nothing runs before the first reset
        self.seeded = False
        self.market_names, self.markets = resolve_markets(config.df)
        self._prepare()

    def _prepare(self) -> None:
        """Everything that follows from the configuration alone."""
        config, count = self.config, self.num_envs
        tables = market_tables(config, self.market_names, self.markets)
        self.tables, self.all_tables = tables[0], tuple(tables)
        self.ranges = decision_ranges(config, self.market_names, tables)
        self.grid: Grid = join_tables(self.markets, tables)
        grid = self.grid
        funding = settlement_rates(config.funding_rate, self.markets)
        ranges = self.ranges + grid.first_decisions[:, None]
        self.market_arrays = (grid.bars, funding, grid.bar_end, grid.bins, ranges)
        self.indexed = config.observation == "index"
        frames = 0 if self.indexed else len(self.tables.lengths)
        starts = np.ascontiguousarray(grid.starts[:, :frames])
        self.windows = (starts, self.tables.lengths[:frames], grid.features)
        self.width = int(self.windows[1].sum()) + types.ACCOUNT_STATE_WIDTH
        recorded = -1 if self.recorded_lane is None else self.recorded_lane
        self.rules = make_rules(config, AUTORESET_CODES[self.autoreset], recorded)
        self.choices = make_choices(config)
        self._make_outputs(count)
        same_step = self.autoreset == "SameStep"
        self.finals = np.zeros((count if same_step else 0, self.width), np.float32)
        self._workers = min(self.threads, max(1, count // LANES_PER_THREAD))
        edges = np.linspace(0, count, self._workers + 1).astype(int).tolist()
        self._shares = list(itertools.pairwise(edges))
        self._pool: ThreadPoolExecutor | None = None
        self._silent = empty_journal()
        self._gather()
        self.decisions[:] = self.lanes["decision"]

    def _make_outputs(self, count: int) -> None:
        self.rewards, self.decisions = np.zeros(count), np.zeros(count, np.int64)
        self.terminated, self.truncated = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        custom = callable(self.config.reward)
        self.inputs = np.zeros((count if custom else 1, self.span if custom else 1, len(INPUTS)))

    def _gather(self) -> None:
        """The arguments of the kernel that never change, as it takes them."""
        self._fixed = (
            plain(self.lanes, types.LANE_DTYPE), plain(self.rules, types.RULES_DTYPE),
            plain(self.choices, types.CHOICE_DTYPE), self.market_arrays, self.windows,
        )  # fmt: skip
        self._outputs = (
            self.finals, self.decisions, self.rewards, self.terminated, self.truncated, self.inputs,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        names = ("config", "num_envs", "autoreset", "threads", "recorded_lane", "recorder", "span",
                 "lanes", "seeded")  # fmt: skip
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lanes = make_lanes(self.num_envs)
        lanes[:] = self.lanes
        self.lanes = lanes
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
        lanes, rules, _, market, windows = self._fixed
        lanes["episode"][mask] += 1
        journal = self._silent if self.recorder is None else self.recorder.journal
        lane_loop.reset_lanes(
            mask, observe_all, lanes, rules, market, windows, observations, self.decisions, journal
        )

    def go_on(self) -> tuple[Bool, Bool]:
        """Begin the next rollout of ended lanes where the last one stopped; the account stays.

        Returns:
            (bankrupt, at the end of the data), bool (num_envs,) each: lanes that stay ended.
        """
        lanes = self.lanes
        ended: Bool = lanes.ended != 0
        floor = self.config.bankrupt_threshold * lanes.initial_cash
        terminated: Bool = ended & ((lanes.equity <= 0.0) | (lanes.equity < floor))
        truncated: Bool = ended & ~terminated & (lanes.decision >= lanes.last_decision)
        more = ended & ~terminated & ~truncated
        lanes.episode[more] += 1  # draws are keyed by episode and step
        lanes.steps[more] = 0
        lanes.ended[more] = 0
        return terminated, truncated

    def step(self, actions: Int64, levels: Float64, observations: Float32) -> int:
        """Step every lane; results lie in this object's arrays.

        Args:
            actions: int64 (num_envs,), or (0,) where actions are continuous.
            levels: float64 (num_envs,) within the box, or (0,) where they are not.
            observations: float32 (num_envs, width), written.

        Returns:
            How many lanes ended with this step.

        Raises:
            RefusedActionError: An action is out of range, or NaN; nothing was stepped.
        """
        journal = self._silent
        if self.recorder is not None:
            self.recorder.make_room(self._fixed[0])
            journal = self.recorder.journal
        arguments = (*self._fixed, actions, levels, (observations, *self._outputs), journal)
        if self._workers == 1:
            n_ended: int = lane_loop.step_lanes(0, self.num_envs, *arguments)
        else:
            n_ended = self._step_shares(arguments)
        if n_ended < 0:
            raise RefusedActionError(-1 - n_ended)
        if callable(self.config.reward):
            self._custom_rewards()
        return n_ended

    def _step_shares(self, arguments: tuple[Any, ...]) -> int:
        """Step the lanes on several threads, this one among them."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers - 1)
        work = [
            self._pool.submit(lane_loop.step_lanes, *share, *arguments)
            for share in self._shares[1:]
        ]
        counts = [lane_loop.step_lanes(*self._shares[0], *arguments)]
        counts += [share.result() for share in work]
        return min(counts) if min(counts) < 0 else sum(counts)

    def step_some(
        self, index: Int64, actions: Int64, levels: Float64, observations: Float32
    ) -> tuple[Float64, Bool, Bool]:
        """Step the lanes of `index` alone: (rewards, terminated, truncated), in its order.

        The lanes are taken out, stepped as a batch of their own by the same kernel and put back.
        """
        part = object.__new__(Engine)
        part.__dict__.update(self.__dict__)
        part.num_envs, part._workers = len(index), 1
        part.lanes = self.lanes[index].view(np.recarray)
        part.rules = self.rules.copy()
        if self.recorder is not None:
            (places,) = np.nonzero(index == self.recorder.lane)
            part.rules.recorded_lane = places[0] if len(places) else -1
            self.recorder.make_room(self.lanes)
            part._silent, part.recorder = self.recorder.journal, None
        part._make_outputs(len(index))
        part._gather()
        part.step(actions, levels, observations)
        self.lanes[index] = part.lanes
        self.decisions[index] = part.decisions
        return part.rewards, part.terminated, part.truncated

    def _custom_rewards(self) -> None:
        """Call the custom reward, once for each decision step that the lanes have taken."""
        lanes, reward = self.lanes, self.config.reward
        recorded = int(self.rules.recorded_lane[0])
        marks = self._silent[1] if self.recorder is None else self.recorder.marks
        if not self.config.rollout:
            begun = lanes.steps == 0  # lanes that NEXT_STEP has just reset earn nothing
            self.rewards[:] = np.where(begun, 0.0, custom_reward(reward, self.inputs[:, 0]))
            if recorded >= 0:
                marks["reward"][lanes.steps[recorded]] = self.rewards[recorded]
            return
        self.rewards[:] = 0.0
        for step in range(int(lanes.steps.max())):
            rolling = np.flatnonzero(lanes.steps > step)
            rewards = custom_reward(reward, self.inputs[rolling, step])
            self.rewards[rolling] += rewards
            if recorded >= 0 and lanes.steps[recorded] > step:
                marks["reward"][step + 1] = rewards[np.searchsorted(rolling, recorded)]

    def exposure(self) -> Float64:
        """Notional over equity of every lane, 0.0 where equity is not positive."""
        exposure: Float64 = self._fixed[0]["exposure"].copy()
        return exposure

    def decision_index(self) -> Int64:
        """Each lane's decision instant, counted within its own market."""
        if len(self.markets) == 1:
            return self.decisions.copy()
        index: Int64 = self.decisions - self.grid.first_decisions[self.lanes["market"]]
        return index

    def metrics(self, lane: int) -> dict[str, float]:
        """The metrics of one lane's episode so far."""
        mask = np.zeros(self.num_envs, np.bool_)
        mask[lane] = True
        return dict(zip(NAMES, self._metrics(mask)[:, lane].tolist(), strict=True))

    def _metrics(self, mask: Bool) -> Float64:
        columns = np.zeros((len(NAMES), self.num_envs))
        row = np.zeros(len(NAMES))
        write_all_metrics(self._fixed[0], mask, self.grid.periods_per_year, row, columns)
        return columns

    def metric_columns(self, mask: Bool) -> dict[str, Any]:
        """The metrics of the lanes of `mask`, each float64 (n,) and 0 elsewhere, with its mask."""
        made: dict[str, Any] = dict(zip(NAMES, self._metrics(mask), strict=True))
        return made | {f"_{name}": mask.copy() for name in NAMES}

    @property
    def level_range(self) -> tuple[float, float]:
        """The box of a continuous level."""
        return (-1.0 if self.config.shorts else 0.0), 1.0

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
