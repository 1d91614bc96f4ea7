"""Where training curves go: TensorBoard, Weights & Biases, a CSV file, or nowhere."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tianshou.utils import BaseLogger, TensorboardLogger
from torch.utils.tensorboard import SummaryWriter

from data_tools.files import replacing

LOGGERS = ("tensorboard", "wandb", "csv", "none")
PROGRESS = "progress.csv"
RUN_ID = "wandb.id"
UPDATE_INTERVAL = 100  # gradient steps between two points of a loss's curve
PROJECT = "gym-trade"
# The columns of PROGRESS; the method's losses follow, as loss/<name>.
COLUMNS = ("epoch", "step", "validation_return", "updates_per_second", "seconds")


def logger_name(text: str) -> str:
    """An argparse type: one of `LOGGERS` whose package is installed."""
    if text not in LOGGERS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(LOGGERS)}, got {text!r}")
    if text == "wandb":
        found = importlib.util.find_spec("wandb")
        if found is None or found.origin is None:  # a folder of that name is no package
            raise argparse.ArgumentTypeError(
                "the package wandb is not installed. Install the extra: "
                "python -m pip install 'gym-trade[wandb]'"
            )
    return text


def make_logger(name: str, directory: Path, about: dict[str, Any]) -> BaseLogger | None:
    """What Tianshou's trainer writes its curves to.

    Args:
        name: One of `LOGGERS`. "csv" has a table of epochs instead, see `Progress`.
        directory: The run's; nothing is written elsewhere.
        about: What the run is: ``method``, ``task`` and ``arguments``.

    Raises:
        ValueError: Weights & Biases refuses to start.
    """
    if name == "tensorboard":
        return TensorboardLogger(SummaryWriter(str(directory)), update_interval=UPDATE_INTERVAL)
    return WandbLogger(directory, about) if name == "wandb" else None


class WandbLogger(BaseLogger):
    """Curves to Weights & Biases, without a detour through TensorBoard files.

    Tianshou's logger of that name has wandb copy event files from below the directory that wandb
    itself writes links into: points then arrive several times. Here they are logged as they come,
    all over the gradient step. A run that is resumed goes on under the id that `RUN_ID` keeps.
    ``WANDB_PROJECT``, ``WANDB_ENTITY`` and ``WANDB_MODE=offline`` are heeded.

    Args:
        directory: The run's; wandb writes into ``wandb`` below it.
        about: See `make_logger`.

    Raises:
        ValueError: wandb refuses to start.
    """

    def __init__(self, directory: Path, about: dict[str, Any]) -> None:
        import wandb

        super().__init__(update_interval=UPDATE_INTERVAL)
        self._step = 0
        kept = directory / RUN_ID
        if not kept.exists():
            kept.write_text(secrets.token_hex(8))
        group = f"{about['task']} {about['method']}"
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT), dir=str(directory),
                name=f"{group} {directory.name}", group=group, id=kept.read_text(),
                resume="allow", config=about["arguments"],
            )  # fmt: skip
        except wandb.Error as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"--logger wandb: {reason} Log in with 'wandb login', set WANDB_MODE=offline, or "
                "use --logger csv."
            ) from error
        # against gradient steps, and not against the number of calls
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log_update_data(self, log_data: dict[str, Any], step: int) -> None:
        """Note the gradient step, and log it where it is time to."""
        self._step = step
        super().log_update_data(log_data, step)

    def prepare_dict_for_logging(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Flattened, without arrays."""
        return TensorboardLogger.prepare_dict_for_logging(self, log_data)

    def write(self, step_type: str, step: int, data: dict[str, Any]) -> None:
        """Log the members of `data` beside the gradient step.

        A step that Tianshou counts otherwise, in epochs or transitions, is a member of its own.
        """
        scope = step_type.split("/")[0]
        named = {f"{scope}/{name}": value for name, value in data.items()}
        self._run.log({step_type: step, **named, "step": self._step})

    def finalize(self) -> None:
        """Send what is left."""
        self._run.finish()

    def save_data(self, *arguments: Any, **keywords: Any) -> None:
        """Nothing: checkpoints stay in the run's directory."""

    def restore_data(self) -> tuple[int, int, int]:
        """Nothing: the run's own state says where to go on."""
        return 0, 0, 0

    @staticmethod
    def restore_logged_data(log_path: str) -> dict[str, Any]:
        """Nothing is kept in a form of its own."""
        return {}


class Progress:
    """A run's `PROGRESS`: a row an epoch, that of epoch 0 for the untrained policy.

    A row is appended by one write as soon as its epoch is over, so that a reader never meets half
    of one. The first two come together, since the losses' names are not known before.

    Args:
        directory: The run's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / PROGRESS

    def add(self, row: dict[str, Any], losses: dict[str, float], untrained: float) -> None:
        """Append an epoch.

        Args:
            row: The values of `COLUMNS`.
            losses: The method's.
            untrained: The validation return of the untrained policy, for the first row.
        """
        values = row | {f"loss/{name}": float(value) for name, value in losses.items()}
        rows: list[Iterable[Any]] = [values.values()]
        if not self._path.exists():
            first = {"epoch": 0, "step": 0, "validation_return": untrained}
            rows = [values, [first.get(name, "") for name in values], *rows]
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator="\n").writerows(rows)
        with self._path.open("ab", buffering=0) as file:
            file.write(written.getvalue().encode())

    def keep(self, epochs: int) -> None:
        """Drop rows of epochs that a resumed run does again, and what is no whole row."""
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = lines[: epochs + 2] if epochs else []
        if not kept:
            self._path.unlink()
            return
        with replacing(self._path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
