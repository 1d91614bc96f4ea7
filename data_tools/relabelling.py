"""The work of `relabel`: a dataset replayed, and what comes out written in its layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_tools.alternatives import (
    RANDOM,
    Alternatives,
    PolicyActions,
    Wanted,
)
from data_tools.editing import (
    EDITED,
    Edited,
    begins_inside,
    describe_edit,
    progress_bar,
    with_episodes,
)
from data_tools.environment import TASKS
from data_tools.episode_scan import EpisodeScan, EpisodeTable
from data_tools.episodes import Episodes
from data_tools.flat_layout import DatasetError
from data_tools.lane_writer import LaneWriter
from data_tools.market_rows import MarketRows, require_market
from data_tools.market_windows import MarketWindows
from data_tools.provenance import ACTION_MASK
from data_tools.recorded_configuration import recorded_configuration
from data_tools.reference import EPISODES, reference_returns
from data_tools.replay import LANES, Replay, Stretch
from data_tools.stored_rows import COUNTERFACTUAL, Rows, StoredRows
from gym_trade import Market, TradeConfig, VectorTradeEnv

_MARKED = {"what": "whether the action was tried afterwards at a logged state, and not logged"}
# Columns that a counterfactual transition has as well: they tell of the state alone.
_OF_STATES = (ACTION_MASK,)
WRITE_ROWS = 4096


class Relabelling:
    """A dataset about to be replayed.

    Args:
        source: The dataset.
        wanted: What is asked for.
        market: As for `market_windows.open_windows`.
        env: As for `relabel.relabel`.

    Raises:
        ValueError: It cannot be replayed, or an argument does not fit it.
    """

    def __init__(
        self,
        source: StoredRows,
        wanted: Wanted,
        market: Market | str | None,
        env: dict[str, Any],
    ) -> None:
        self._source, self._wanted = source, wanted
        self._known = require_market(source, "relabel")
        if COUNTERFACTUAL in source.extra:
            raise DatasetError(
                f"{source.path} has counterfactual transitions already, which begin in the middle "
                "of an episode. Relabel the dataset that it was made of."
            )
        if begins_inside(self._known.get(EDITED)):
            raise DatasetError(
                f"{source.path} is what a split has left behind its cut, where episodes begin in "
                "their middle. Relabel the dataset as it was collected, then split it."
            )
        self._config = recorded_configuration(source.path, self._known, market, env)
        table = source.scan()
        lanes = min(LANES, len(table.lengths))
        self._logged = self._environment(self._config, lanes)
        paid = self._config
        if wanted.reward is not None:
            paid = self._config.replace(reward=wanted.reward)
        self._paid = self._logged
        if paid != self._config:
            self._paid = self._environment(paid, lanes)
        windows = MarketWindows.of(self._logged.tables[0])
        if windows.layout != self._known["layout"]:
            raise DatasetError(
                f"{source.path}: its market gives observations of another layout than it describes."
                " Make the dataset anew."
            )
        self._rows = MarketRows(source, windows)
        self._replay = Replay(self._rows, table, self._logged, self._paid)
        self._about = self._describe(wanted.alternatives(self._paid))

    def close(self) -> None:
        """Stop the environments."""
        self._logged.close()
        self._paid.close()

    def write(
        self, goal: Path, overwrite: bool, progress: bool, check: Callable[[], object]
    ) -> Edited:
        """Replay everything once to be sure of it, and again to write."""
        source, wanted = self._source, self._wanted
        with tqdm(total=source.size, desc="replaying", unit=" transitions", unit_scale=True,
                  disable=not progress) as bar:  # fmt: skip
            table, branches = self._survey(check, bar)
        if wanted.actions is not None and not branches:
            raise DatasetError(
                f"{source.path}: --actions gives nothing but what was logged there. Try others."
            )
        logged = 0 if wanted.counterfactual_only else source.size
        rows = logged + branches
        space = self._paid.single_action_space
        with (
            source.writer(
                goal, rows, self._columns(), overwrite, int(getattr(space, "n", 0))
            ) as writer,
            progress_bar(rows, progress) as bar,
        ):
            if logged:
                self._write_logged(writer, check, bar)
            if branches:
                self._write_branches(writer, check, bar)
            episodes = table.summary()
            about = self._with_reference(episodes, rows, check)
            if wanted.actions is not None:
                about[EDITED] |= {"logged": logged, "counterfactual": branches}
            writer.finish(about)
        return Edited(goal, rows, episodes, about)

    # --- environments and words --------------------------------------------------------------

    def _environment(
        self, config: TradeConfig, lanes: int, autoreset_mode: str = "Disabled"
    ) -> VectorTradeEnv:
        made = TASKS[self._known["task"]]
        return made(config, num_envs=lanes, autoreset_mode=autoreset_mode, copy=False)

    def _describe(self, alternatives: Alternatives | None) -> dict[str, Any]:
        wanted = self._wanted
        how: dict[str, Any] = {}
        if wanted.reward is not None:
            how["reward"] = {"from": self._known["config"].get("reward"), "to": wanted.reward}
        if isinstance(alternatives, PolicyActions):
            how["actions"] = alternatives.description | {"seed": wanted.seed}
        elif alternatives is not None:
            how["actions"] = {"name": wanted.actions}
            if wanted.actions == RANDOM:
                how["actions"] |= {"samples": wanted.samples, "seed": wanted.seed}
        made = describe_edit([self._source], self._known, "relabel", **how) or {}
        if wanted.reward is not None:
            made["config"] = made["config"] | {"reward": wanted.reward}
        columns = {
            name: facts
            for name, facts in made.pop("columns", {}).items()
            if name in self._columns()
        }
        if alternatives is not None:
            columns[COUNTERFACTUAL] = _MARKED
        return made | ({"columns": columns} if columns else {})

    def _columns(self) -> dict[str, Any]:
        """The further columns of what is written."""
        extra = self._source.extra
        if self._wanted.actions is None:
            return extra
        kept = {name: extra[name] for name in _OF_STATES if name in extra}
        return kept | {COUNTERFACTUAL: ((), np.dtype(np.bool_))}

    def _with_reference(
        self, episodes: Episodes, rows: int, check: Callable[[], object]
    ) -> dict[str, Any]:
        """The provenance; what simple policies earn is measured again under another reward."""
        made = with_episodes(self._about, rows, episodes, same=self._paid is self._logged) or {}
        if self._paid is not self._logged and "returns" in self._known["reference"]:
            venv = self._environment(self._paid.config, EPISODES, "SameStep")
            seed = self._known.get("seed")
            simple = reference_returns(
                venv, seed if isinstance(seed, int) else 0, lambda: (check(), None)[1]
            )
            venv.close()
            made["reference"] |= {"returns": simple}
        return made

    # --- replaying ---------------------------------------------------------------------------

    def _stretches(self, tried: bool, check: Callable[[], object]) -> Iterator[Stretch]:
        alternatives = self._wanted.alternatives(self._paid) if tried else None
        return self._replay.stretches(alternatives, check)

    def _survey(self, check: Callable[[], object], bar: tqdm[Any]) -> tuple[EpisodeTable, int]:
        """Check every row; returns the episodes, as the target's reward pays, and the branches."""
        scan, count = EpisodeScan(), 0
        for part in self._stretches(True, check):
            rows = part.rows
            done = rows["terminated"] | rows["truncated"]
            scan.add(self._rewards(part), rows["terminated"], done, done & ~part.ended)
            count += 0 if part.branches is None else len(part.branches.rows)
            bar.update(len(done))
        return scan.table(), count

    def _rewards(self, part: Stretch) -> Any:
        """The logged actions' rewards, of the type that the dataset has."""
        return part.rewards.astype(self._source.spec("rew")[1])

    def _write_logged(
        self, writer: LaneWriter, check: Callable[[], object], bar: tqdm[Any]
    ) -> None:
        same, kept = self._paid is self._logged, self._columns()
        stretches = None if same else self._stretches(False, check)
        rewards, start = np.zeros(0), 0
        for begin, end in self._source.chunks():
            check()
            rows = self._source.read(begin, end)
            while stretches is not None and len(rewards) < end - start:
                rewards = np.concatenate((rewards[begin - start :], self._rewards(next(stretches))))
                start = begin
            if stretches is not None:
                rows["rew"] = rewards[begin - start : end - start]
            if end == self._source.size and not (rows["terminated"][-1] or rows["truncated"][-1]):
                rows["truncated"][-1] = True  # what comes next is no part of it
            rows = {n: v for n, v in rows.items() if n in kept or n not in self._source.extra}
            if COUNTERFACTUAL in kept:
                rows[COUNTERFACTUAL] = np.zeros(end - begin, np.bool_)
            self._source.write(writer, rows)
            bar.update(end - begin)

    def _write_branches(
        self, writer: LaneWriter, check: Callable[[], object], bar: tqdm[Any]
    ) -> None:
        for part in self._stretches(True, check):
            count = 0 if part.branches is None else len(part.branches.rows)
            for begin in range(0, count, WRITE_ROWS):
                check()
                rows = self._branch_rows(part, slice(begin, begin + WRITE_ROWS))
                self._source.write(writer, rows)
                bar.update(len(rows["rew"]))

    def _branch_rows(self, part: Stretch, which: slice) -> Rows:
        """Counterfactual transitions as rows of the dataset."""
        branches = part.branches
        assert branches is not None
        at, terminated = branches.rows[which], branches.terminated[which]
        states = {name: part.rows[name][at] for name in _OF_STATES if name in part.rows}
        return states | {
            "obs": self._rows.restore(part.rows["obs"][at]),
            "act": branches.act[which],
            "rew": branches.rew[which],
            "terminated": terminated,
            "truncated": ~terminated,
            "obs_next": self._rows.restore(branches.obs_next[which]),
            "apart": np.ones(len(at), np.bool_),
            COUNTERFACTUAL: np.ones(len(at), np.bool_),
        }
