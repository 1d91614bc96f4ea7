"""What environments draw: frames, windows and the whole history."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import types
import warnings
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from matplotlib import backend_bases, dates, pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

import gym_trade  # noqa: F401
from tests import markets
from tests.rollouts import SMALL, scalar, vector

FRAME = markets.bars(600)
IDS = sorted(name for name in gym.registry if name.startswith("Trade-"))
SHAPE = (600, 800, 3)


def is_picture(frame):
    return isinstance(frame, np.ndarray) and (frame.dtype, frame.shape) == (np.uint8, SHAPE)


def step_all(env, action):
    """Step; a vector's lanes all take the same action."""
    env.step(np.full(env.num_envs, action) if hasattr(env, "num_envs") else action)


# --- frames -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_frames_of_a_growing_episode(name):
    env = gym.make(name, df=FRAME, render_mode="rgb_array", episode_steps=6, **SMALL)
    assert env.render_mode == "rgb_array" and env.metadata["render_fps"] > 0
    assert env.metadata["render_modes"] == ["rgb_array", "human"]
    env.reset(seed=0)
    frames, shown = [env.render()], [env.render()]
    for action in (1,) if "OneStep" in name else (1, 2, 0):
        env.step(action)
        frames.append(env.render())
        shown.append(env.render())  # twice: drawing changes nothing
    env.reset(seed=0)
    frames.append(env.render())
    assert all(map(is_picture, frames))
    assert all((one == other).all() for one, other in zip(frames, shown, strict=False))
    assert not any((one == other).all() for one, other in pairwise(frames))
    assert (frames[-1] == frames[0]).all()  # nothing of the last episode
    env.close()
    env.close()


@pytest.mark.parametrize("lane", [None, 0, 2])
@pytest.mark.parametrize("kind", ["Sequential", "SLTP", "OneStep"])
def test_a_vector_gives_a_frame_a_lane_of_which_the_recorded_one_shows_something(kind, lane):
    """The same picture as the scalar environment of that seed; the others' are blank."""
    venv = gym.make_vec(f"Trade-{kind}-v0", num_envs=3, df=FRAME, render_mode="rgb_array",
                        record_lane=lane, **SMALL)  # fmt: skip
    lane = lane or 0
    twin = scalar(FRAME, kind, render_mode="rgb_array")
    venv.reset(seed=5), twin.reset(seed=5 + lane)
    for step in range(2):
        frames = venv.render()
        assert isinstance(frames, tuple) and len(frames) == 3
        assert all(map(is_picture, frames))
        for number, frame in enumerate(frames):
            if number == lane:
                assert (frame == twin.render()).all()
            else:
                assert (frame == 255).all()
        if step == 0:
            actions = np.zeros(3, int)
            actions[lane] = 2
            venv.step(actions), twin.step(2)


def test_one_lane_is_a_tuple_of_one_frame():
    for name in IDS:
        env = gym.make_vec(name, num_envs=1, df=FRAME, render_mode="rgb_array", **SMALL)
        env.reset(seed=0)
        (frame,) = env.render()
        assert is_picture(frame) and frame.min() < 200


def test_without_a_mode_there_is_no_picture():
    for env in (scalar(), vector(num_envs=2), vector(num_envs=2, record_lane=1)):
        env.reset(seed=0)
        assert env.render() is None
    for env in (scalar(render_mode="rgb_array"), vector(render_mode="rgb_array")):
        with pytest.raises(RuntimeError, match="before the first reset"):
            env.render()
    with pytest.raises(ValueError, match="render_mode"):
        scalar(render_mode="ansi")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_draws_the_same(duplicate):
    for env in (scalar(render_mode="rgb_array"), vector(num_envs=2, render_mode="rgb_array")):
        env.reset(seed=0)
        for action in (2, 0, 1):
            step_all(env, action)
        before = np.array(env.render())
        twin = duplicate(env)
        env.reset()
        assert (np.array(twin.render()) == before).all()
        assert not (np.array(env.render()) == before).all()


def test_the_market_of_several_is_named():
    """The same bars under two names make two pictures."""
    pictures = []
    for names in (("one", "two"), ("one", "one as well")):
        env = scalar(dict.fromkeys(names, FRAME), render_mode="rgb_array")
        assert names[1] in (env.reset(seed=seed)[1]["market"] for seed in range(9))
        pictures.append(env.render())
    assert not (pictures[0] == pictures[1]).all()


# --- the checker, windows ---------------------------------------------------------------


class Window(backend_bases.FigureManagerBase):
    """A window without a screen, which counts what is asked of it."""

    made: list = []  # noqa: RUF012

    def show(self):
        self.log = []
        Window.made.append(self)

    def destroy(self):
        self.log.append("destroy")
        backend_bases.CloseEvent("close_event", self.canvas)._process()


class Canvas(FigureCanvasAgg):
    manager_class = Window

    def flush_events(self):
        self.manager.log.append(np.asarray(self.buffer_rgba())[..., :3].copy())


@pytest.fixture
def screen(monkeypatch):
    module = types.SimpleNamespace(FigureCanvas=Canvas, FigureManager=Window)
    monkeypatch.setitem(sys.modules, "screenless_toolkit", module)
    monkeypatch.setattr(Window, "made", [])
    pyplot.switch_backend("module://screenless_toolkit")
    yield Window.made
    pyplot.switch_backend("agg")


@pytest.mark.parametrize("name", IDS)
def test_check_env_with_its_pictures(name, screen):
    """Every render mode, made from the environment's own spec."""
    for mode in (None, "rgb_array"):
        env = gym.make(name, df=FRAME, render_mode=mode, **SMALL).unwrapped
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env)
    assert len(screen) == 2 and all(isinstance(window.log[-1], str) for window in screen)


@pytest.mark.parametrize("make", [scalar, vector], ids=["scalar", "vector"])
def test_a_window_is_drawn_by_reset_and_every_step(make, screen):
    env, still = make(render_mode="human"), make(render_mode="rgb_array")
    (window,) = screen
    assert window.log == []
    expected = []
    for action in (None, 2, 0, 1, None):
        for each in (env, still):
            each.reset(seed=1) if action is None else step_all(each, action)
        expected.append(np.array(still.render()).reshape(SHAPE))
    assert len(window.log) == 5
    assert all((one == other).all() for one, other in zip(window.log, expected, strict=True))
    assert env.render() is None and len(window.log) == 6
    env.close()
    assert window.log[-1] == "destroy" and len(screen) == 1
    env = make(render_mode="human")
    env.reset(seed=1)
    screen[1].destroy()  # by its user, who has seen enough: the episode goes on
    step_all(env, 2)
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_a_window_without_a_screen_is_refused(name):
    pyplot.switch_backend("agg")
    for make in (gym.make, gym.make_vec):
        with pytest.raises(RuntimeError, match=r"needs a display.*'agg'.*rgb_array"):
            make(name, df=FRAME, render_mode="human", **SMALL)


# --- the whole history ------------------------------------------------------------------


def played(kind, make=scalar, **arguments):
    env = make(FRAME, kind, leverage=3, **arguments)
    env.reset(seed=2)
    for action in (2,) if kind == "OneStep" else (1, 0, 2, 3, 0, 4, 1, 0):
        step_all(env, action)
    return env


@pytest.mark.parametrize("kind", ["Sequential", "SLTP", "OneStep"])
def test_render_history_returns_a_figure_of_three_panels(kind):
    """On request, whatever the render mode, without pyplot having heard of it."""
    scalars = [played(kind), played(kind, render_mode="rgb_array")]
    for env in [*scalars, played(kind, vector, num_envs=3, record_lane=1)]:
        figure = env.render_history(return_fig=True)
        assert pyplot.get_fignums() == []
        price, portfolio, exposure = figure.axes
        marks, fills = env.history(), env.all_fills()
        assert len(marks) > 1 and len(fills) > 0
        times = dates.date2num(marks["timestamp"].to_numpy())
        for axes, label, column in ((price, "price", "price"), (exposure, "exposure", "exposure"),
                                    (portfolio, "portfolio", "portfolio_value")):  # fmt: skip
            (line,) = [line for line in axes.get_lines() if line.get_label() == label]
            np.testing.assert_array_equal(
                line.get_xydata(), np.column_stack((times, marks[column]))
            )
        shown = sum(len(line.get_xydata()) for line in price.get_lines()) - len(marks)
        assert shown == len(fills)
        value = f"{marks['portfolio_value'].iloc[-1]:,.2f}"
        assert [text.get_text() for text in figure.texts] == [f"portfolio {value}"]


@pytest.mark.parametrize("make", [scalar, vector], ids=["scalar", "vector"])
def test_render_history_shows_the_figure_through_pyplot(make, monkeypatch):
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.gcf()))
    recorded = {"record_lane": 0} if make is vector else {}
    try:
        assert played("SLTP", make, **recorded).render_history() is None
        (figure,) = shown
        assert len(figure.axes) == 3 and pyplot.get_fignums() == [figure.number]
    finally:
        pyplot.close("all")


def test_matplotlib_is_loaded_by_pictures_alone():
    program = """import sys
import gymnasium, gym_trade
for make in (gymnasium.make, gymnasium.make_vec):
    extra = {"record_lane": 0} if make is gymnasium.make_vec else {}
    env = make("Trade-SLTP-v0", **extra)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.unwrapped.history(), env.unwrapped.trades(), env.unwrapped.render()
print("matplotlib" in sys.modules)
env = gymnasium.make("Trade-SLTP-v0", render_mode="rgb_array")
env.reset(seed=0)
print(env.render().shape, "matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert output.split("\n")[:2] == ["False", "(600, 800, 3) True False"]
