"""What a policy of a market task sees and means outside an environment."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_tools.environment import TASKS
from gym_trade import Market, TradeConfig, observe
from gym_trade.arguments import CALLABLE_PREFIX

# Has no part in what is seen; a reward may name code.
UNSEEN = ("df", "start", "end", "episode_steps", "random_start", "reward", "render_mode")


def configuration(about: dict[str, Any]) -> TradeConfig:
    """What a checkpoint's observations were made with, market and reward left out.

    Args:
        about: What the checkpoint carries.

    Raises:
        ValueError: It is of no market, or its features are code, which is not run for a file.
    """
    fields = about.get("configuration")
    if not fields:
        raise ValueError(
            f"a policy for {about.get('task', 'no task')} trades no market. Pass observations of "
            "shape (n, D)."
        )
    seen = {name: value for name, value in fields.items() if name not in UNSEEN}
    if CALLABLE_PREFIX in json.dumps(seen):
        raise ValueError(
            f"the checkpoint names code that would be imported and run: features="
            f"{seen.get('features')}. If you trust it, pass config=, a configuration of that "
            "environment with those features."
        )
    return TASKS[about["task"]].config_class.from_json(json.dumps(seen))


def observation(
    about: dict[str, Any],
    bars: Any,
    account_state: npt.ArrayLike | None,
    now: object = None,
    config: TradeConfig | None = None,
) -> npt.NDArray[np.float32]:
    """The flat observation at the end of `bars`, float32 (D,); see `TrainedPolicy.act`.

    Raises:
        ValueError: See `TrainedPolicy.act`.
    """
    if not isinstance(bars, pd.DataFrame | Market):
        raise ValueError(
            f"bars are a DataFrame of open, high, low, close and volume, not {type(bars).__name__}."
        )
    if account_state is None:
        raise ValueError(
            "bars need an account_state: six numbers, which gym_trade.account_state makes."
        )
    config = configuration(about) if config is None else config
    made = observe(config, bars, account_state, now=now)
    columns = about["layout"][-1][2]
    if len(made) != columns:
        windows = [f"{key} {list(shape)}" for key, _, _, shape in about["layout"]]
        raise ValueError(
            f"these bars make observations of {len(made)} numbers, and the policy reads {columns}: "
            f"{', '.join(windows)}. Pass bars of the market's base interval, with its columns."
        )
    return made


def exposure(about: dict[str, Any], actions: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Levels times leverage of actions; see `TrainedPolicy.exposure`.

    Raises:
        ValueError: The policy is of no market.
    """
    fields, space = about.get("configuration"), about.get("action_space", {})
    if not fields:
        raise ValueError(f"a policy for {about.get('task', 'no task')} trades no market.")
    if "brackets" in space:
        # hold leaves the position as it is: what that asks for only the account says
        asked = {"hold": np.nan, "close": 0.0}
        wanted = [asked[b["order"]] if "order" in b else b["level"] for b in space["brackets"]]
        levels = np.asarray(wanted, np.float64)[np.asarray(actions)]
    elif "levels" in space:
        levels = np.asarray(space["levels"], np.float64)[np.asarray(actions)]
    else:
        levels = np.asarray(actions, np.float64)[..., 0]
    return np.asarray(levels * float(fields.get("leverage", 1.0)))
