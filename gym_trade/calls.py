"""What callers hand to an environment, read and checked: actions, seeds, reset masks, modes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from gym_trade.arguments import refuse, whole
from gym_trade.engine import NO_ACTIONS, NO_LEVELS, SEED_LIMIT, Engine
from gym_trade.types import Bool, Float64, Int64

INT64_MAX = 2**63 - 1


def read_autoreset_mode(value: object) -> AutoresetMode:
    """An `AutoresetMode` from itself, its value ("NextStep") or its name ("NEXT_STEP")."""
    if isinstance(value, AutoresetMode):
        return value
    plain = str(value).replace("_", "").lower()
    for mode in AutoresetMode:
        if plain == mode.value.lower():
            return mode
    raise refuse("autoreset_mode", value, f"one of {[mode.value for mode in AutoresetMode]}")


def read_actions(engine: Engine, actions: Any, count: int) -> tuple[Int64, Float64]:
    """A batch of actions as the kernel takes them, of which the one that is not meant is empty.

    Returns:
        Indices int64 (count,), levels float64 (count,) clipped to the box.

    Raises:
        ValueError: Wrong shape or kind. That each is in range is for the kernel to see.
    """
    array = np.asarray(actions)
    if engine.config.continuous:
        if array.shape not in ((count, 1), (count,)) or array.dtype.kind not in "fiu":
            raise ValueError(
                f"actions of shape {array.shape} and dtype {array.dtype}: expected floats of shape "
                f"({count}, 1)."
            )
        return NO_ACTIONS, np.clip(array.reshape(count).astype(np.float64), *engine.level_range)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"actions of shape {array.shape} and dtype {array.dtype}: expected integers of shape "
            f"({count},)."
        )
    if array.dtype != np.int64:
        # a uint64 that int64 cannot hold must stay out of range
        array = np.minimum(array, INT64_MAX).astype(np.int64) if array.dtype == np.uint64 else array
        array = array.astype(np.int64)
    return np.ascontiguousarray(array), NO_LEVELS


def describe_refusal(engine: Engine, actions: Any, lane: int) -> ValueError:
    """The error for the action of a lane that the kernel has refused."""
    if engine.config.continuous:
        return ValueError(f"the action of lane {lane} is NaN.")
    action = np.asarray(actions).reshape(-1)[lane]
    last = len(engine.choices) - 1
    return ValueError(f"the action of lane {lane} is {action}: expected 0 to {last}.")


def read_recorded_lane(lane: object, count: int, render_mode: str | None) -> int | None:
    """The lane to record: as asked for, the first where a render mode needs one, or None."""
    if lane is None:
        return None if render_mode is None else 0
    number = whole("record_lane", lane, 0)
    if number >= count:
        raise refuse("record_lane", lane, f"a lane, 0 to {count - 1}")
    return number


def read_reset_mask(engine: Engine, options: dict[str, Any] | None) -> Bool:
    """The lanes that a reset begins anew, bool (num_envs,): ``options["reset_mask"]`` or all.

    Raises:
        ValueError: Unknown options, a mask of another shape or kind, or one that leaves lanes out
            of the very first reset.
    """
    count = engine.num_envs
    unknown = set(options or ()) - {"reset_mask"}
    if unknown:
        raise ValueError(f"options: unknown key {sorted(unknown)[0]!r}; known: 'reset_mask'.")
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(count, np.bool_)
    array = np.asarray(mask)
    if array.shape != (count,) or array.dtype != np.bool_ or not array.any():
        raise ValueError(
            f"options['reset_mask'] must be bool of shape ({count},) with at least one True, got "
            f"{array.dtype} {array.shape}."
        )
    if not array.all() and not engine.seeded:
        raise ValueError("options['reset_mask']: the first reset must name every lane.")
    return array


def apply_seeds(engine: Engine, seed: Any, mask: Bool) -> None:
    """Seed the lanes of `mask`: s seeds lane i with s + i, a list each lane with its own.

    Raises:
        ValueError: A seed is out of range, or the list does not fit.
    """
    if seed is None:
        return
    count = engine.num_envs
    single = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not single and not isinstance(seed, list | tuple | np.ndarray):
        raise refuse("seed", seed, "a whole number, a list of them, or None")
    wanted = [int(seed) + lane for lane in range(count)] if single else list(seed)
    if len(wanted) != count:
        raise ValueError(f"seed: {len(wanted)} seeds for {count} lanes.")
    given = [value for value in wanted if value is not None]
    for value in given:
        if not isinstance(value, int | np.integer) or not 0 <= value < SEED_LIMIT:
            raise refuse("seed", value, f"whole numbers from 0 to {SEED_LIMIT - 1}")
    if given and len(given) < count and not engine.seeded:
        raise ValueError("seed: the first reset must seed every lane or none.")
    current = engine.lanes.seed.tolist()
    for lane, value in enumerate(wanted):
        if value is not None and mask[lane]:
            current[lane] = value
            engine.lanes.episode[lane] = -1
    seeds = np.array(current, np.int64)
    if given and not engine.seeded:
        engine.seed(seeds)
    engine.lanes.seed = seeds
