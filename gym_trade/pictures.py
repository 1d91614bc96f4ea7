"""What an environment draws: frames of the running episode, and the figure of its history."""

from __future__ import annotations

from typing import Any

from gym_trade import render
from gym_trade.engine import Engine
from gym_trade.history import History


class Pictures:
    """The pictures of an engine's recorded lane, in one render mode.

    Args:
        mode: None, "rgb_array" or "human".

    Raises:
        RuntimeError: "human" without a display.
    """

    def __init__(self, mode: str | None) -> None:
        self._renderer = None if mode is None else render.Renderer(mode)
        self._mode = mode

    def _title(self, engine: Engine) -> str:
        lane = engine.lanes[engine.recorded_lane or 0]
        name = engine.market_names[int(lane.market)] if len(engine.markets) > 1 else ""
        value = f"portfolio {float(lane.equity):,.2f}"
        return f"{name}: {value}" if name else value

    def render(self, engine: Engine) -> Any:
        """A frame, uint8 (height, width, 3); None where there is a window, or no render mode."""
        if self._renderer is None:
            return None
        history = History(engine)
        marks, fills, title = history.marks(), history.fills(), self._title(engine)
        if self._mode == "human":
            self._renderer.show(marks, fills, title)
            return None
        return self._renderer.frame(marks, fills, title)

    def history(self, engine: Engine, return_fig: bool) -> Any:
        """The figure of the whole episode so far; see `TradeEnv.render_history`."""
        history = History(engine)
        shown = history.marks(), history.fills(), self._title(engine)
        if return_fig:
            return render.history_figure(*shown)
        from matplotlib import pyplot

        render.draw_history(pyplot.figure(figsize=(10.0, 7.5)), *shown)
        pyplot.show()
        return None

    def close(self) -> None:
        """Close the window, if any."""
        if self._renderer is not None:
            self._renderer.close()
