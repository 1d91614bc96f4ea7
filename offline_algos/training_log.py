"""What Tianshou's trainer reports: kept for the result, printed once an epoch, passed on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from tianshou.data import CollectStats
from tianshou.utils import BaseLogger, LazyLogger

from offline_algos.loggers import COLUMNS, Progress


class TrainingLog(BaseLogger):
    """A Tianshou logger that prints a line an epoch and hands everything to another logger.

    Tianshou's offline progress bar shows the step only, so the losses and the validation return
    are printed here.

    Args:
        inner: Where the curves go: a Tianshou logger, or None.
        echo: Prints a line.
        progress: A table that gets a row an epoch, or None.

    Attributes:
        validation_returns: Return of each validation pass; the first is the untrained policy's.
        update_seconds: Time spent in gradient steps.
        updates: Gradient steps done.
        seconds: Wall time of training and validation, once finished.
    """

    def __init__(
        self,
        inner: BaseLogger | None = None,
        echo: Callable[[str], None] = print,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self._progress = progress
        self.inner = inner or LazyLogger()
        self.validation_returns: list[float] = []
        self.losses: dict[str, float] = {}
        self.update_seconds = 0.0
        self.updates = 0
        self.seconds = 0.0
        self._episode_returns: list[float] = []
        self._started = time.perf_counter()
        self._echo = echo
        self._epoch_start = (0, 0.0, time.perf_counter())

    @property
    def epoch(self) -> int:
        """Epochs that were trained and validated."""
        return max(len(self.validation_returns) - 1, 0)

    def score(self, stats: CollectStats) -> float:
        """A validation pass's score: its mean return, but the untrained policy is never best."""
        if len(self.validation_returns) <= 1:
            return -math.inf
        return float(stats.returns.mean())

    def best(self) -> tuple[int, float]:
        """The epoch whose policy validated best, and that return."""
        trained = self.validation_returns[1:]
        value = max(trained)
        return trained.index(value) + 1, value

    def state(self) -> dict[str, Any]:
        """What a run that goes on must know: plain numbers."""
        return {
            "validation_returns": list(self.validation_returns),
            "losses": {name: float(value) for name, value in self.losses.items()},
            "update_seconds": self.update_seconds,
            "updates": self.updates,
            "seconds": time.perf_counter() - self._started,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.validation_returns, self.losses = state["validation_returns"], state["losses"]
        self.update_seconds, self.updates = state["update_seconds"], state["updates"]
        self._started = time.perf_counter() - state["seconds"]
        self._epoch_start = (self.updates, self.update_seconds, time.perf_counter())
        if self._progress is not None:
            self._progress.keep(self.epoch)

    def log_update_data(self, log_data: dict[str, Any], step: int) -> None:
        """Keep the smoothed losses of a gradient step."""
        self.losses = log_data["smoothed_loss"]
        self.update_seconds += log_data["train_time"]
        self.updates += 1  # an online step may have several, or one for several
        self.inner.log_update_data(log_data, self.updates)

    def log_test_data(self, log_data: dict[str, Any], step: int) -> None:
        """Keep a validation pass's return."""
        self.validation_returns.append(float(log_data["returns"].mean()))
        if len(self.validation_returns) == 1:
            self._echo(f"untrained: validation return {self.validation_returns[0]:+.6f}")
        self.inner.log_test_data(log_data, step)

    def log_info_data(self, log_data: dict[str, Any], step: int) -> None:
        """Print the epoch's line, and add its row to the table."""
        updates, seconds, started = self._epoch_start
        rate = (self.updates - updates) / max(self.update_seconds - seconds, 1e-9)
        now = time.perf_counter()
        self._epoch_start = (self.updates, self.update_seconds, now)
        losses = "  ".join(f"{name} {value:.5g}" for name, value in self.losses.items())
        collected = ""
        if self._episode_returns:
            mean = sum(self._episode_returns) / len(self._episode_returns)
            collected = f"  {len(self._episode_returns)} episodes, mean return {mean:+.6f}"
            self._episode_returns = []
        self._echo(
            f"epoch {step}: {losses}{collected}  "
            f"validation return {self.validation_returns[-1]:+.6f}  "
            f"best {self.best()[1]:+.6f} (epoch {self.best()[0]})  "
            f"{rate:.0f} updates/s  {now - started:.0f} s"
        )
        if self._progress is not None:
            values = (step, self.updates, self.validation_returns[-1], rate, now - self._started)
            row = dict(zip(COLUMNS, values, strict=True))
            self._progress.add(row, self.losses, self.validation_returns[0])
        self.inner.log_info_data(log_data, step)

    def log_training_data(self, log_data: dict[str, Any], step: int) -> None:
        """Keep the returns of episodes that ended; offline training collects nothing."""
        self._episode_returns += log_data["returns"].tolist()
        self.inner.log_training_data(log_data, step)

    def write(self, step_type: str, step: int, data: dict[str, Any]) -> None:
        """Pass on."""
        self.inner.write(step_type, step, data)

    def prepare_dict_for_logging(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Pass on."""
        return self.inner.prepare_dict_for_logging(log_data)

    def save_data(self, *arguments: Any, **keywords: Any) -> None:
        """Pass on."""
        self.inner.save_data(*arguments, **keywords)

    def restore_data(self) -> tuple[int, int, int]:
        """Pass on."""
        return self.inner.restore_data()

    @staticmethod
    def restore_logged_data(log_path: str) -> dict[str, Any]:
        """Nothing is kept in a form of its own."""
        return {}

    def finalize(self) -> None:
        """Note the time and close the other logger."""
        self.seconds = time.perf_counter() - self._started
        self.inner.finalize()
