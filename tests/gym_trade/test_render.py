"""What the pictures of an episode show: read from their artists, and from the pixels."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from itertools import chain, pairwise, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import backend_bases, dates, pyplot, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gym_trade import render
from gym_trade.types import REASON_NAMES

START = np.datetime64("2024-03-04", "ns")
STEP = np.timedelta64(15, "m").astype("m8[ns]")
SERIES = {"price": (0, "price"), "portfolio_value": (1, "portfolio"), "exposure": (2, "exposure")}


def history(count=50, seed=0):
    rng = np.random.default_rng(seed)
    price, value = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (2, count)), axis=1))
    exposure = np.append(0.0, rng.choice([-1.5, -0.5, 0.0, 1.0, 2.0], count - 1))
    columns = {"timestamp": START + np.arange(count) * STEP, "price": price, "reward": 0.0}
    return pd.DataFrame(columns | {"portfolio_value": value, "exposure": exposure})


def fills(*rows):
    """Fills from rows of step (which may lie between two), price, quantity, position, reason."""
    frame = pd.DataFrame(rows, columns=["timestamp", "price", "quantity", "position", "reason"])
    after = (frame["timestamp"].to_numpy(float) * STEP.astype(int)).astype("m8[ns]")
    return frame.assign(timestamp=START + after)


def alternating(marks, count):
    at = np.linspace(0, len(marks) - 2, count).astype(int)
    prices, held = 1.001 * marks["price"].to_numpy()[at], (np.arange(count) + 1) % 2
    return fills(*zip(at, prices, 2 * held - 1, held, ["agent"] * count, strict=True))


EVERY_KIND = {
    "long entry": [(1, 101, 2, 2, "agent"), (2, 102, 1, 3, "agent"), (8.5, 99, 5, 2, "agent")],
    "short entry": [(7, 98, -2, -2, "agent"), (8, 97, -1, -3, "agent"), (14, 96, -5, -2, "agent")],
    "exit": [(3, 103, -1, 2, "agent"), (4, 104, -2, 0, "agent"), (15, 95, 1, -1, "agent"),
             (16, 94, 1, 0, "agent"), (20, 93, -2, 0, "rollout_end")],
    "take profit": [(9, 105, -2, 0, "take_profit")],
    "stop loss": [(10, 92, -2, 0, "stop_loss"), (11, 106, 2, 0, "stop_loss")],
    "liquidation, margin call": [(12, 60, -2, 0, "liquidation"), (13, 190, 2, 0, "margin_call")],
}  # fmt: skip
MARKS, FILLS, EMPTY = history(), fills(*sorted(chain(*EVERY_KIND.values()))), fills()


def days(frame):
    return dates.date2num(frame["timestamp"].to_numpy())


def drawn(figure, panel):
    return {line.get_label(): line.get_xydata() for line in figure.axes[panel].get_lines()}


def legend(figure, panel):
    return [text.get_text() for text in figure.axes[panel].get_legend().get_texts()]


def test_every_fill_is_drawn_where_it_happened_as_its_kind():
    figure = render.history_figure(MARKS.assign(exposure=1.5), FILLS)
    shapes = {line.get_label(): line.get_marker() for line in figure.axes[0].get_lines()}
    assert list(shapes) == legend(figure, 0) == ["price", *EVERY_KIND]  # no artist for each fill
    assert len(set(shapes.values())) == len(shapes)
    assert [shapes[name] for name in ("price", "long entry", "short entry")] == ["none", "^", "v"]
    for kind, rows in EVERY_KIND.items():
        points = np.column_stack((days(fills(*rows)), [price for _, price, *_ in rows]))
        assert np.array_equal(drawn(figure, 0)[kind], points), kind
    for axes in figure.axes:  # everything is inside, 0 and a fill far from every mark included
        shown = np.concatenate([line.get_ydata() for line in axes.get_lines()])
        assert axes.get_ylim()[0] < shown.min() and shown.max() < axes.get_ylim()[1]
    assert legend(render.history_figure(MARKS, FILLS[:1]), 0) == ["price", "long entry"]
    every = fills(*product((1,), (100,), (-2, 2), (-1, 0, 1), REASON_NAMES[1:]))
    assert set(np.sum(list(render.fill_kinds(every).values()), axis=0)) == {1}


def test_price_portfolio_and_exposure_are_drawn_as_they_are():
    figure = render.history_figure(MARKS, FILLS, "lane 3", size=(7.5, 4.0), dpi=80)
    for column, (panel, label) in SERIES.items():
        points = np.column_stack((days(MARKS), MARKS[column]))
        assert np.array_equal(drawn(figure, panel)[label], points)
    value, hold = MARKS["portfolio_value"], drawn(figure, 1)["buy and hold"]
    held = value[0] / MARKS["price"][0] * MARKS["price"]
    np.testing.assert_allclose(hold, np.column_stack((days(MARKS), held)), rtol=1e-12)
    gains = value.iloc[-1] / value[0] - 1, held.iloc[-1] / value[0] - 1
    assert legend(figure, 1) == [f"portfolio {gains[0]:+.1%}", f"buy and hold {gains[1]:+.1%}"]
    assert figure.texts[0].get_text() == "lane 3"
    assert (*figure.get_size_inches(), figure.dpi) == (7.5, 4.0, 80)
    axes = figure.axes[2]
    zero, steps = axes.get_lines()
    assert np.array_equal(zero.get_ydata(), [0, 0])
    assert steps.get_drawstyle() == "steps-pre"  # a mark's exposure was held up to it
    shade = axes.patches[0].get_path()
    for (before, after), held in zip(pairwise(days(MARKS)), MARKS["exposure"][1:], strict=True):
        for level in (-1.4, -0.4, 0.4, 0.9, 1.9):
            inside = shade.contains_point(((before + after) / 2, level))
            assert inside == (min(held, 0) < level < max(held, 0))


def test_panels_share_a_time_axis_in_utc_and_name_their_units():
    week = history(96 * 2)
    week.loc[96:, "timestamp"] += pd.Timedelta("1D")  # a day off, which takes its room
    with rc_context({"timezone": "Asia/Tokyo"}):
        figure = render.history_figure(week, fills((-20, 100, 1, 1, "agent")))
        figure.canvas.draw()
        shown = [text.get_text() for text in figure.axes[2].get_xticklabels()]
    assert shown == ["Mar-04", "12:00", "Mar-05", "12:00", "Mar-06", "12:00", "Mar-07"]
    assert set(figure.axes[2].get_xticks() % 1) == {0.0, 0.5}
    ((start, end),) = {axes.get_xlim() for axes in figure.axes}
    assert start < days(week)[0] - 20 / 96 and days(week)[-1] < end  # an early fill is inside
    labels = [axes.get_ylabel() for axes in figure.axes] + [figure.axes[2].get_xlabel()]
    assert labels == ["price (quote)", "portfolio (quote)", "exposure (x)", "time (UTC)"]


@pytest.mark.parametrize("count, none", [(1, EMPTY), (1, FILLS[:0]), (2, EMPTY), (10, FILLS[:0])])
def test_short_episodes_without_a_fill(count, none):
    figure = render.history_figure(MARKS[:count], none)
    figure.canvas.draw()
    assert legend(figure, 0) == ["price"]
    dots = [line.get_marker() for axes in figure.axes for line in axes.get_lines()].count(".")
    assert dots == (4 if count == 1 else 0)  # one point makes no line
    assert sum(figure.axes[2].viewLim.containsx(tick) for tick in figure.axes[2].get_xticks()) >= 2


@pytest.mark.parametrize("last, price", [(0.0, 1.25e-8), (-25.0, 9876543.21), (0.0, 2e9)])
def test_a_wiped_out_account_and_a_flat_market(last, price):
    marks = MARKS.assign(price=price, exposure=0.0, portfolio_value=100.0)
    marks.loc[30:, "portfolio_value"] = last
    figure = render.history_figure(marks, fills((29, price, -3, 0, "liquidation")))
    figure.canvas.draw()
    assert drawn(figure, 1)["portfolio"][-1, 1] == last > figure.axes[1].get_ylim()[0]
    assert legend(figure, 1) == [f"portfolio {last / 100 - 1:+.1%}", "buy and hold +0.0%"]
    axis = figure.axes[0].yaxis  # its texts lie side by side, and left of the legend
    texts, edge = [axis.label, *axis.get_ticklabels(), axis.get_offset_text()], axis.axes.bbox.x0
    label, *others = (text.get_window_extent() for text in texts)
    assert 0 < label.x0 and all(label.x1 < at.x0 <= at.x1 < edge for at in others)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=120), st.integers(1, 12), st.integers(0, 99))
def test_thinning_keeps_every_columns_ends_and_extremes(gaps, columns, seed):
    x = np.cumsum(gaps)
    y = np.random.default_rng(seed).integers(-3, 4, len(x)).astype(float)
    limits = (x[0] - 0.1, x[-1] + 0.1)
    kept = render.extremes(x, y, limits, columns)
    assert (np.diff(kept) > 0).all() and (len(kept) == len(x) or 4 * columns >= len(kept))
    column = np.floor((x - limits[0]) / (limits[1] - limits[0]) * columns)
    for place in np.unique(column):
        inside = np.flatnonzero(column == place)
        chosen = kept[np.isin(kept, inside)]
        assert chosen[0] == inside[0] and chosen[-1] == inside[-1]
        assert y[chosen].min() == y[inside].min() and y[chosen].max() == y[inside].max()


def test_a_hundred_thousand_points_are_thinned_and_no_spike_is_lost():
    marks = history(100_000)
    for column in SERIES:
        low, high = marks[column].min(), marks[column].max()
        marks.loc[[41_234, 70_007], column] = 3 * high, low - high
    made, renderer = alternating(marks, 40_000), render.Renderer("rgb_array")
    renderer.frame(marks, made)
    lines = [drawn(renderer._canvas.figure, panel) for panel in range(3)]
    pairs = [(lines[panel][label], marks[column]) for column, (panel, label) in SERIES.items()]
    pairs += [(lines[0]["long entry"], made["price"][::2]), (lines[0]["exit"], made["price"][1::2])]
    for shown, true in pairs:
        assert 100 < len(shown) < 4 * 800
        assert (min(shown[:, 1]), max(shown[:, 1])) == (true.min(), true.max())
        assert (shown[0, 1], shown[-1, 1]) == (true.iloc[0], true.iloc[-1])


@pytest.mark.parametrize("width, height", [(800, 600), (803, 600), (79, 777), (64, 64)])
def test_a_frame_has_exactly_the_size_asked_for(width, height):
    frame = render.Renderer("rgb_array", width, height).frame(MARKS, FILLS, "title")
    assert frame.shape == (height, width, 3) and frame.dtype == np.uint8
    assert (frame[[0, -1], [0, -1]] == 255).all() and frame.min() < 200


def test_a_frame_depends_on_every_number_and_nothing_shown_before():
    long = history(300, seed=3)
    shown = [  # growing, a new episode, other legends, titles and marker sizes
        (MARKS[:1], EMPTY, ""), (MARKS[:2], FILLS[:1], ""), (MARKS, FILLS, "end"),
        (long, alternating(long, 20), "end"), (long, alternating(long, 250), ""),
        (long[:1], EMPTY, "next"), (long, EMPTY, ""), (MARKS[:1], EMPTY, ""),
    ]  # fmt: skip
    renderer = render.Renderer("rgb_array", 400, 300)
    frames = [renderer.frame(*episode) for episode in shown]
    for episode, frame in zip(shown, frames, strict=True):
        assert np.array_equal(render.Renderer("rgb_array", 400, 300).frame(*episode), frame)
    assert not any(np.array_equal(before, after) for before, after in pairwise(frames))
    before = renderer.frame(MARKS, FILLS)
    for column in SERIES:
        changed = MARKS.assign(**{column: MARKS[column].where(MARKS.index != 25, 70.0)})
        assert not np.array_equal(renderer.frame(changed, FILLS), before)
    assert not np.array_equal(renderer.frame(MARKS, FILLS.replace(101, 104)), before)
    assert np.array_equal(renderer.frame(MARKS.copy(), FILLS.copy()), before)


def test_matplotlib_is_loaded_when_needed_and_left_as_it_is():
    program = """import sys; from gym_trade import render; print("matplotlib" in sys.modules)
import pandas as pd; from matplotlib import rcParams
rcParams["figure.constrained_layout.use"] = True  # would refuse our margins
settings = lambda: {key: rcParams[key] for key in rcParams if key != "backend"}
before, stamps = settings(), pd.to_datetime(["2024-01-01"])
marks = pd.DataFrame(dict(timestamp=stamps, price=1.0, portfolio_value=1.0, exposure=0.0))
fills = marks.assign(quantity=1.0, position=0.0, reason="agent")
render.history_figure(marks, fills); render.Renderer("rgb_array").frame(marks, fills)
print("matplotlib.pyplot" in sys.modules, settings() == before)
try: render.Renderer("human")
except RuntimeError as error: print(error)"""
    bare = {key: os.environ[key] for key in os.environ if not key.endswith(("DISPLAY", "BACKEND"))}
    command = [sys.executable, "-W", "error", "-c", program]
    output = subprocess.run(command, env=bare, capture_output=True, text=True, check=True).stdout
    assert output.startswith("False\nFalse True\n")
    assert sys.platform != "linux" or 'render_mode="human" needs a display' in output


class Window(backend_bases.FigureManagerBase):
    def show(self):
        self.log = ["show"]

    def destroy(self):
        self.log.append("destroy")
        backend_bases.CloseEvent("close_event", self.canvas)._process()


class Canvas(FigureCanvasAgg):
    manager_class = Window

    def draw(self):
        super().draw()
        self.manager.log.append("draw")

    def flush_events(self):
        self.manager.log.append("events")


@pytest.fixture
def toolkit(monkeypatch):
    module = types.SimpleNamespace(FigureCanvas=Canvas, FigureManager=Window)
    monkeypatch.setitem(sys.modules, "window_toolkit", module)
    pyplot.switch_backend("module://window_toolkit")
    yield
    pyplot.switch_backend("agg")


def test_a_window_is_shown_once_and_drawn_for_each_step(toolkit):
    window = (renderer := render.Renderer("human", 400, 300))._window
    for count in (1, 2, 20):
        renderer.show(MARKS[:count], FILLS, f"step {count}")
        assert len(drawn(window.canvas.figure, 0)["price"]) == count
    assert window.log == ["show", *3 * ["draw", "events"]]  # never raised over other windows
    assert pyplot.get_fignums() == [] and not pyplot.isinteractive()  # the user's are their own
    alone = render.Renderer("rgb_array", 400, 300).frame(MARKS[:20], FILLS, "step 20")
    assert np.array_equal(np.asarray(window.canvas.buffer_rgba())[..., :3], alone)
    renderer.close()
    assert window.log[7:] == ["destroy"]
    window = (renderer := render.Renderer("human"))._window
    window.destroy()  # by hand: its user has seen enough
    renderer.show(MARKS, FILLS)
    renderer.close()
    assert window.log == ["show", "destroy"]


def test_a_backend_that_fails_or_has_no_window_is_refused(toolkit, monkeypatch):
    monkeypatch.setattr(Canvas, "new_manager", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match=r"GUI backend.*window_toolkit") as caught:
        render.Renderer("human")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    pyplot.switch_backend("agg")
    with pytest.raises(RuntimeError, match=r"human.*needs a display.*'agg'.*rgb_array"):
        render.Renderer("human")
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("mode, other", [("rgb_array", "show"), ("human", "frame")])
def test_what_makes_no_picture_is_refused(toolkit, mode, other):
    with pytest.raises(ValueError, match="mode must be 'rgb_array' or 'human', got 'ansi'"):
        render.Renderer("ansi")
    with pytest.raises(ValueError, match="64 or more, got 800 and 0"):
        render.Renderer(mode, 800, 0)
    renderer = render.Renderer(mode)
    with pytest.raises(RuntimeError, match=f"this renderer is for '{mode}', not "):
        getattr(renderer, other)(MARKS, FILLS)
    renderer.close()
    renderer.close()
    for use in (renderer.frame, renderer.show):
        with pytest.raises(RuntimeError, match="closed"):
            use(MARKS, FILLS)
