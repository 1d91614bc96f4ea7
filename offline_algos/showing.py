"""Showing what a policy does: in a window, or drawn into a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from data_tools.driving import Behaviour
from data_tools.files import replacing
from offline_algos.gym_task import TEST_SEED, FixedSeed, GymTask

WINDOW = "window"  # what --render without a file means
DEFAULT_FPS = 30
FIRST = np.ones(1, np.bool_)


def check_picture(render: str | None, endings: Sequence[str]) -> Path | None:
    """The file that ``--render`` names; None where it names none.

    Raises:
        ValueError: Its ending is none of `endings`, or its folder is not there.
    """
    if render is None or render == WINDOW:
        return None
    path = Path(render)
    if path.suffix.lower() not in endings:
        raise ValueError(f"--render {render}: expected a name that ends in {', '.join(endings)}.")
    if not path.parent.is_dir():
        raise ValueError(f"--render {render}: there is no folder {path.parent}. Make it first.")
    return path


@contextmanager
def opening_window(picture: Path | None = None) -> Iterator[None]:
    """Turn what toolkits raise without a display into one error.

    Args:
        picture: The file that is drawn into, where it is not a window that opens.

    Raises:
        ValueError: Nothing can be shown here.
    """
    try:
        yield
    except Exception as error:  # each toolkit has its own
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        remedy = "--render FILE draws a picture"
        if picture is not None:  # MuJoCo's renderers; most tasks' need no display
            remedy = "set MUJOCO_GL=egl or MUJOCO_GL=osmesa where the task is of MuJoCo"
        raise ValueError(f"--render: {reason}. Without a display, {remedy}.") from error


def draw_market(environment: Any, path: Path) -> None:
    """Write the picture of an environment's recorded episode, whole or not at all."""
    with replacing(path) as temporary:
        figure = environment.render_history(return_fig=True)
        figure.savefig(temporary, format=path.suffix[1:].lower())


def play_episode(
    task: GymTask,
    behaviour: Behaviour,
    number: int,
    *,
    window: bool = False,
    picture: Path | None = None,
) -> tuple[float, int]:
    """Play one of a task's test episodes.

    Args:
        task: The task.
        behaviour: Acts on the one lane.
        number: Which episode, from 0 on.
        window: Show it.
        picture: Where to write it as a .gif; None: nowhere.

    Returns:
        Its return, and its steps.

    Raises:
        ValueError: There is no display, or the task cannot be drawn.
    """
    drawn = window or picture is not None
    with opening_window(picture) if drawn else nullcontext():
        mode = "human" if window else "rgb_array" if picture is not None else None
        shown = {} if mode is None else {"render_mode": mode}  # not every task takes the argument
        env = FixedSeed(task.environment(**shown), TEST_SEED + number)
        observation, _ = env.reset()
        frames = [_frame(env)] if picture is not None else []
    behaviour.begin(FIRST)
    total, steps, over = 0.0, 0, False
    while not over:
        action = behaviour.act(observation[None])[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        behaviour.observe(np.array([reward], np.float64))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
        if picture is not None:
            frames.append(_frame(env))
    if picture is not None:
        _write_gif(frames, env.metadata.get("render_fps", DEFAULT_FPS), picture)
    env.close()
    return total, steps


def _frame(env: gym.Env[Any, Any]) -> Any:
    """A small image of the environment: frames of a whole episode are kept."""
    from PIL import Image

    return Image.fromarray(np.asarray(env.render(), np.uint8)).quantize()


def _write_gif(frames: list[Any], fps: float, path: Path) -> None:
    with replacing(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:],
            duration=max(20, round(1000 / fps)), loop=0,
        )  # fmt: skip
