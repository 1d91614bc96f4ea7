"""A dataset's episodes gone through again, checked bit by bit, with other actions tried on the way.

The price path does not depend on the agent and the environment keeps no secret: an episode's
beginning and its actions decide everything that follows. So each episode is stepped again by the
environment's own ledger, and at each of its states other actions can be tried before the logged
one is taken. Nothing is reconstructed from observations, which are rounded and leave out the
wallet. A dataset whose rows the environment does not give again is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from data_tools.alternatives import Alternatives
from data_tools.collected_episodes import draws, episode_keys
from data_tools.episode_scan import EpisodeTable
from data_tools.flat_layout import DatasetError
from data_tools.market_rows import MarketRows, Records
from data_tools.stored_rows import Rows
from gym_trade import VectorTradeEnv
from gym_trade.places import begin_at, keep, put_back
from gym_trade.types import Bool, Float64, Int64

LANES = 256
STRETCH_ROWS = 2**17


@dataclass(frozen=True)
class Branches:
    """What other actions would have done.

    Attributes:
        rows: At which row's state each was tried, counted in the stretch, int64 (n,), ascending.
        act: The actions, (n, ...).
        rew: float64 (n,).
        terminated: bool (n,).
        obs_next: Records (n,).
    """

    rows: Int64
    act: npt.NDArray[Any]
    rew: Float64
    terminated: Bool
    obs_next: Records


@dataclass(frozen=True)
class Stretch:
    """Some rows, replayed.

    Attributes:
        start: The first of them.
        rows: What the dataset holds, observations as records.
        rewards: Of the logged actions, as the second environment pays them, float64 (n,).
        ended: Where the environment has ended an episode, bool (n,).
        branches: What other actions would have done there.
    """

    start: int
    rows: Rows
    rewards: Float64
    ended: Bool
    branches: Branches | None


class Replay:
    """Replays a dataset.

    Args:
        rows: The dataset.
        table: Its episodes.
        logged: The environment that it was made in, in index mode, of `LANES` lanes or fewer,
            without autoreset.
        paid: The same with another reward, in which other actions are tried; or `logged`.

    Raises:
        DatasetError: Chance had a part in its accounts, and the random numbers are not known.
    """

    def __init__(
        self, rows: MarketRows, table: EpisodeTable, logged: VectorTradeEnv, paid: VectorTradeEnv
    ) -> None:
        self._rows, self._table, self._logged, self._paid = rows, table, logged, paid
        self._keys = episode_keys(rows.source, table)
        chance = draws(logged.config)
        if self._keys is None and chance is not None:
            raise DatasetError(
                f"{rows.path}: with {chance} its accounts depend on the random numbers of the "
                "collection, and since the dataset was edited it does not say which. Relabel the "
                "dataset as it was collected, then edit it."
            )
        self._starts: Int64 | None = None  # of each episode, where they are not drawn again
        self._carried: Records = np.zeros((), rows.shown)
        for venv in self._environments:
            venv.reset(seed=0)

    @property
    def _environments(self) -> list[VectorTradeEnv]:
        return [self._logged] if self._paid is self._logged else [self._logged, self._paid]

    def stretches(
        self, alternatives: Alternatives | None, check: Callable[[], object]
    ) -> Iterator[Stretch]:
        """Replay all rows, in their order.

        Args:
            alternatives: The other actions to try; None: none.
            check: Called once a step; may raise.

        Raises:
            DatasetError: A row is not what the environment gives.
        """
        if self._keys is None and self._starts is None:
            if self._logged.config.rollout:
                task = str((self._rows.source.provenance or {})["task"])
                dates = self._rows.dates(self._table, task, check)
                self._starts = np.concatenate([here for _, _, here, _ in dates])
            else:
                self._starts = self._rows.starts(self._table, check)
        for first, count in self._groups():
            lengths = self._table.lengths[first : first + count]
            stop = int(self._table.stops[first + count - 1])
            start = stop - int(lengths.sum())
            for begin in range(start, stop, STRETCH_ROWS):  # more than once for one long episode
                end = min(begin + STRETCH_ROWS, stop) if count == 1 else stop
                taken = lengths if count > 1 else np.array([end - begin])
                rows = self._rows.read(begin, end)
                fresh = first if begin == start else None
                yield self._stretch(begin, rows, taken, fresh, alternatives, check)
                if end == stop:
                    break

    def _groups(self) -> Iterator[tuple[int, int]]:
        """Episodes that are replayed together: the first, and how many."""
        first = rows = 0
        for number, length in enumerate(self._table.lengths.tolist()):
            full = number - first == self._logged.num_envs or rows + length > STRETCH_ROWS
            if full and number > first:
                yield first, number - first
                first, rows = number, 0
            rows += length
        yield first, len(self._table.lengths) - first

    def _stretch(
        self,
        start: int,
        rows: Rows,
        lengths: Int64,
        fresh: int | None,
        alternatives: Alternatives | None,
        check: Callable[[], object],
    ) -> Stretch:
        """Replay the rows of one lane behind the other, `lengths` of them each."""
        self._check_actions(start, rows["act"])
        begins = np.cumsum(lengths) - lengths
        made = _Made(len(rows["rew"]), self._rows.shown)
        if fresh is not None:
            self._begin(fresh, made.obs, begins)
            if alternatives is not None:
                alternatives.begin(np.arange(self._paid.num_envs) < len(lengths))
        else:
            made.obs[0] = self._carried
        parts: list[Branches] = []
        for step in range(int(lengths.max())):
            check()
            lanes = np.flatnonzero(lengths > step)
            at = begins[lanes] + step
            if alternatives is not None:
                parts += self._try(lanes, at, rows["act"][at], made.obs[at], alternatives)
            self._step(lanes, at, rows["act"][at], made)
            on = at[lengths[lanes] > step + 1]
            made.obs[on + 1] = made.obs_next[on]
            early = made.ended[on]
            if early.any():
                self._refuse(start + int(on[early].min()), "end of the episode", True, False)
        self._carried = made.obs_next[-1].copy()
        self._compare(start, rows, made)
        branches = _in_order(parts) if parts else None
        return Stretch(start, rows, made.paid, made.ended, branches)

    def _begin(self, first: int, obs: Records, begins: Int64) -> None:
        """Begin the episodes from `first` on, one a lane, and write what they show."""
        index, among = np.arange(len(begins)), slice(first, first + len(begins))
        if self._keys is None:
            assert self._starts is not None
            keys, decisions = (np.zeros_like(index),) * 2, self._starts[among]
        else:
            keys, decisions = (self._keys[0][among], self._keys[1][among]), None
        for venv in self._environments:
            accounts = begin_at(venv.engine, index, *keys, decisions)
        obs["decision"][begins] = self._logged.decision_index[index]
        obs["account_state"][begins] = accounts

    def _step(self, lanes: Int64, at: Int64, actions: npt.NDArray[Any], made: _Made) -> None:
        shown, reward, terminated, truncated = self._logged.step_lanes(lanes, actions)
        made.obs_next["decision"][at] = shown["decision_index"]
        made.obs_next["account_state"][at] = shown["account_state"]
        made.rew[at], made.terminated[at] = reward, terminated
        made.ended[at] = terminated | truncated
        if self._paid is not self._logged:
            reward = self._paid.step_lanes(lanes, actions)[1]
        made.paid[at] = reward

    def _try(
        self,
        lanes: Int64,
        at: Int64,
        logged: npt.NDArray[Any],
        shown: Records,
        alternatives: Alternatives,
    ) -> Iterator[Branches]:
        """Take other actions, each from the states that the lanes are in, and go back to them."""
        engine = self._paid.engine
        kept = keep(engine, lanes)
        for actions, wanted in alternatives.choose(lanes, logged, shown):
            tried = lanes[wanted]
            if not len(tried):
                continue
            seen, reward, terminated, _ = self._paid.step_lanes(tried, actions[wanted])
            after: Records = np.zeros(len(tried), self._rows.shown)
            after["decision"] = seen["decision_index"]
            after["account_state"] = seen["account_state"]
            yield Branches(at[wanted], actions[wanted], reward, terminated.copy(), after)
            put_back(engine, lanes, kept)

    def _check_actions(self, start: int, actions: npt.NDArray[Any]) -> None:
        """Refuse actions that the environment does not have."""
        space = self._logged.single_action_space
        if actions.shape[1:] == space.shape and isinstance(space, gym.spaces.Discrete):
            wrong = (actions < 0) | (actions >= space.n)
        else:
            fits = actions.shape[1:] == space.shape and actions.dtype.kind == "f"
            wrong = ~np.isfinite(actions).reshape(len(actions), -1).all(axis=1) | (not fits)
        if wrong.any():
            row = int(wrong.argmax())
            raise DatasetError(
                f"{self._rows.path}: act of transition {start + row} is {_text(actions[row])}. "
                f"Expected one of {space}."
            )

    def _compare(self, start: int, rows: Rows, made: _Made) -> None:
        """Refuse rows that are not what was made again; the message names the first one."""
        compared: list[tuple[str, Bool, Any, Any]] = []  # what, where it is right, found, made
        for name, wanted in (("obs", made.obs), ("obs_next", made.obs_next)):
            found = rows[name]
            here, there = (x["decision"].astype(np.int64) for x in (found, wanted))
            same = self._rows.alike(here, there)
            compared.append((f"decision instant of {name}", same, here, there))
            one, two = (np.ascontiguousarray(x["account_state"]) for x in (found, wanted))
            same = (one.view(np.uint32) == two.view(np.uint32)).all(axis=1)
            compared.append((f"account of {name}", same, one, two))
        reward = made.rew.astype(rows["rew"].dtype)
        compared.append(("rew", reward == rows["rew"], rows["rew"], reward))
        same = rows["terminated"] == made.terminated
        compared.append(("terminated", same, rows["terminated"], made.terminated))
        done = rows["terminated"] | rows["truncated"]
        # an episode may have been cut, but not have gone on behind its end
        compared.append(("end of the episode", done | ~made.ended, done, made.ended))
        wrong = [(int(np.argmin(x[1])), number) for number, x in enumerate(compared)
                 if not x[1].all()]  # fmt: skip
        if wrong:
            row, number = min(wrong)
            what, _, found, wanted = compared[number]
            self._refuse(start + row, what, wanted[row], found[row])

    def _refuse(self, row: int, what: str, made: Any, found: Any) -> None:
        raise DatasetError(
            f"{self._rows.path}: transition {row} cannot be replayed: {what} is {_text(made)} when "
            f"the environment takes its action again, and {_text(found)} in the file. Expected "
            "episodes from their beginning on, as data_tools.collect writes them, made with this "
            "environment."
        )


class _Made:
    """What a replay gives: a place for each row."""

    def __init__(self, count: int, shown: np.dtype[Any]) -> None:
        self.obs: Records = np.zeros(count, shown)
        self.obs_next: Records = np.zeros(count, shown)
        self.rew, self.paid = np.zeros(count), np.zeros(count)
        self.terminated, self.ended = np.zeros(count, np.bool_), np.zeros(count, np.bool_)


def _in_order(parts: list[Branches]) -> Branches:
    """All branches, by row, and at each row in the order of trying."""
    order = np.argsort(np.concatenate([part.rows for part in parts]), kind="stable")
    names = ("rows", "act", "rew", "terminated", "obs_next")
    return Branches(
        *(np.concatenate([getattr(part, name) for part in parts])[order] for name in names)
    )


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(f'{x:.9g}' for x in value.tolist())}]"
    return repr(value.item() if isinstance(value, np.generic) else value)
