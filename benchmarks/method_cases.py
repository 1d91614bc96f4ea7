"""The small tasks of `benchmarks.methods`: their data, and the flags of methods on them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.controllers import balance, lean, swing_up
from data_tools.collect import collect
from data_tools.files import replacing
from data_tools.rollouts import record
from gym_trade.synthetic import make_frame

DISCRETE = ("il", "bcq", "cql", "crr", "iql", "dt")
CONTINUOUS = ("il", "bcq", "cql", "crr", "td3_bc", "iql", "dt")
# The flags were found on the embedded path, seed 0: what is shown is another one.
MARKET_SEED = 1
SPREAD = np.linspace(0.1, 1.0, 8)  # a controller's noise, from the best lane to a random one
Flags = dict[str, tuple[str, ...]]
SMALL: Flags = {"--hidden-sizes": ("64", "64"), "--batch-size": ("64",), "--logger": ("none",)}
STEPS: Flags = SMALL | {"--epoch": ("5",), "--update-per-epoch": ("1000",)}
MARKET: Flags = SMALL | {
    "--epoch": ("4",), "--update-per-epoch": ("500",), "--gamma": ("0.9",),
}  # fmt: skip
FAST: Flags = {"--lr": ("1e-3",)}
# A transformer's step takes a hundred times as long, and it learns from a twentieth of them.
TRANSFORMER: Flags = FAST | {
    "--hidden-sizes": (), "--context-length": ("10",), "--embedding-size": ("32",),
    "--num-layers": ("1",), "--update-per-epoch": ("200",), "--warmup-steps": ("100",),
}  # fmt: skip
OWN: dict[str, Flags] = {
    "il": FAST, "bcq": {"--lr": ("3e-4",)}, "cql": FAST, "dt": TRANSFORMER,
}  # fmt: skip
# On a market an action's advantage is a small part of a reward's deviation, and half of the data is
# noise: weights that are to tell actions apart must be steeper, and a rarer action allowed.
STEEP: dict[str, Flags] = {
    "crr": FAST | {"--beta": ("0.1",)}, "iql": FAST | {"--temperature": ("30",)},
}  # fmt: skip
MARKET_OWN = OWN | STEEP | {"bcq": FAST | {"--unlikely-action-threshold": ("0.1",)}}
CONTINUOUS_OWN: dict[str, Flags] = {"il": FAST, "dt": TRANSFORMER}
# Five thousand steps are few: a temperature must not begin where it takes as many to fall.
PENDULUM_OWN = CONTINUOUS_OWN | {
    "cql": FAST | {"--alpha": ("0.2",), "--cql-weight": ("1",)}, "iql": FAST,
}  # fmt: skip
CONTINUOUS_MARKET = MARKET | FAST | {"--batch-size": ("256",)}
CONTINUOUS_MARKET_OWN = STEEP | {
    "td3_bc": {"--alpha": ("10",)}, "cql": {"--alpha": ("0.1",), "--cql-weight": ("0.5",)},
    "dt": TRANSFORMER,
}  # fmt: skip
WIDE: Flags = {
    "--hidden-sizes": ("256", "256"), "--logger": ("none",), "--num-test-envs": ("5",),
    "--epoch": ("10",), "--update-per-epoch": ("6000",),
}  # fmt: skip
CHEETAH_OWN: dict[str, Flags] = {
    "il": {"--update-per-epoch": ("2000",)},
    # The authors' way, in small: clone first, then learn the policy slowly.
    "cql": {
        "--update-per-epoch": ("6000",),
        "--cloning-steps": ("20000",),
        "--cql-weight": ("10",),
        "--alpha": ("0.1",),
        "--auto-alpha": ("0",),
        "--actor-lr": ("2e-4",),
        "--critic-lr": ("5e-4",),
        "--num-repeat-actions": ("4",),
        "--hidden-sizes": ("128", "128"),
        "--batch-size": ("128",),
    },
}


class TaskCase(NamedTuple):
    """A task: its data, the scripts for it, their methods and flags, and some methods' own."""

    name: str
    make_data: Callable[[Path], None]
    prefix: str
    methods: tuple[str, ...]
    flags: Flags
    own: dict[str, Flags]
    seeds: int | None = None  # where a seed takes an hour: at most so many


def cart_pole(path: Path) -> None:
    """A controller of all qualities."""
    act = functools.partial(balance, noise=SPREAD)
    record("CartPole-v1", act, path, buffer_size=20_000, policy={"name": "balance"})


def leaning_cart_pole(path: Path) -> None:
    """Three lanes that balance and five that mostly push right."""
    record("CartPole-v1", lean, path, buffer_size=20_000, policy={"name": "lean"})


def pendulum(path: Path) -> None:
    """A controller of all qualities."""
    act = functools.partial(swing_up, noise=SPREAD)
    record("Pendulum-v1", act, path, buffer_size=20_000, policy={"name": "swing-up"})


def half_cheetah(path: Path) -> None:
    """Soft actor-critic after 40,000 steps, a tenth of its actions at random; an hour's work."""
    script = importlib.import_module("offline_algos.d4rl_style_sac")
    logs = path.with_suffix(".log")
    with contextlib.redirect_stdout(io.StringIO()):
        made = script.train(script.make_parser().parse_args([
            "--task", "HalfCheetah-v5", "--epoch", "4", "--buffer-size", "200000",
            "--num-test-envs", "3", "--logger", "none", "--logdir", str(logs),
        ]))  # fmt: skip
        script.main(["--watch", "--resume-path", made["directory"], "--eps-test", "0.1",
                     "--buffer-size", "100000", "--save-buffer-name", str(path)])  # fmt: skip


def market(path: Path, buffer_size: int = 64_000, **environment: Any) -> None:
    """A rule of which half is noise, on a learnable market: another path than the embedded one."""
    bars = path.with_name("market.csv.gz")
    if not bars.exists():
        with replacing(bars) as temporary:
            made = make_frame("mean_reverting", seed=MARKET_SEED)
            made.to_csv(temporary, compression="gzip", float_format="%.17g")
    collect(path, buffer_size=buffer_size, market=str(bars), policy="ma-cross",
            epsilon=0.5, env=environment, progress=False, echo=None)  # fmt: skip


TASKS = (
    TaskCase("CartPole, mixed", cart_pole, "atari_style", DISCRETE, STEPS, OWN),
    TaskCase("CartPole, leaning", leaning_cart_pole, "atari_style", DISCRETE, STEPS, OWN),
    TaskCase("Pendulum, mixed", pendulum, "d4rl_style", CONTINUOUS, STEPS, PENDULUM_OWN),
    TaskCase("market, levels", market, "atari_style", DISCRETE, MARKET, MARKET_OWN),
    TaskCase("market, continuous",
             functools.partial(market, buffer_size=256_000, action_type="continuous"),
             "d4rl_style", CONTINUOUS, CONTINUOUS_MARKET, CONTINUOUS_MARKET_OWN),
    TaskCase("HalfCheetah, medium", half_cheetah, "d4rl_style", ("il", "cql", "td3_bc"), WIDE,
             CHEETAH_OWN, seeds=1),
)  # fmt: skip
