"""The whole line in a few minutes: embedded market, dataset, CQL, test, a table and a picture.

``python -m benchmarks.quickstart`` needs neither network nor data. It collects what a mixed
behaviour policy does on the first part of the embedded market, trains discrete CQL on it with
Tianshou's offline trainer, and compares it with its behaviour policy, random, flat and buy-and-hold
on the period after. Everything it writes lies in ``quickstart/``, the picture in
``quickstart.png``. It runs the same functions as the command lines of `data_tools.collect` and
`offline_algos.atari_style_cql`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.machine import describe_machine, write_result
from data_tools import command_line
from data_tools.collect import collect
from data_tools.files import replacing
from gym_trade.synthetic import REGIME_KINDS as KINDS
from offline_algos import atari_style_cql

POLICY = "ma-cross"
EPSILON = 0.5
BUFFER_SIZE = 128_000
SEEDS = 5  # of --all
PICTURE_FORMATS = (".png", ".pdf", ".svg")
# Two epochs' worth of what helps on this market: later ones fit the price path (see the curve).
TRAINING = ("--epoch", "8", "--update-per-epoch", "250", "--batch-size", "256", "--lr", "3e-4")
TRAINING += ("--hidden-sizes", "128", "128", "--num-quantiles", "16", "--gamma", "0.9")
TRAINING += ("--min-q-weight", "0.1", "--target-update-freq", "200", "--logger", "none")
BEHAVIOUR = "behaviour policy"


def check_places(folder: Path, picture: Path) -> None:
    """Refuse places that cannot be written to before minutes of work are done.

    Raises:
        CommandLineError: `folder` is a file, or `picture` has no folder or an unknown suffix.
    """
    if folder.exists() and not folder.is_dir():
        raise command_line.CommandLineError(f"--folder {folder} is a file. Name a folder.")
    if picture.suffix.lower() not in PICTURE_FORMATS or not picture.parent.is_dir():
        raise command_line.CommandLineError(
            f"--picture {picture}: expected a name ending in {', '.join(PICTURE_FORMATS)}, in a "
            "folder that exists."
        )


def run_market(kind: str, seed: int, folder: Path) -> dict[str, Any]:
    """Collect, train and test on one embedded market.

    Returns:
        What the table, the picture and results/quickstart.json show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = folder / f"{kind}.hdf5"
    print(
        f"\n[1/3] {kind} market, seed {seed}: collecting {BUFFER_SIZE} transitions of {POLICY}, "
        f"{EPSILON:.0%} random",
        flush=True,
    )
    summary = collect(
        dataset,
        buffer_size=BUFFER_SIZE,
        market=f"synthetic:{kind}",
        policy=POLICY,
        epsilon=EPSILON,
        seed=seed,
        overwrite=True,
        progress=sys.stderr.isatty(),
    )
    print("[2/3] training discrete CQL, validating after every epoch", flush=True)
    flags = ["--load-buffer-name", str(dataset), "--seed", str(seed), "--logdir", str(folder)]
    result = atari_style_cql.train(atari_style_cql.make_parser().parse_args([*flags, *TRAINING]))
    return {
        "transitions": summary.transitions,
        "updates": result["updates"],
        "fee": summary.provenance["config"]["transaction_fee"],
        "test": result["evaluation"]["test"],
        "validation_returns": result["validation_returns"],
        "best_epoch": result["best_epoch"],
        "policies": policies_of(result),
        "curves": Path(result["directory"]) / result["equity_curves"],
    }


def label(name: str) -> str:
    """What the table and the picture call a policy of result.json or a column of equity.csv."""
    if name.startswith("behaviour"):
        return BEHAVIOUR
    return {"cql best": "CQL"}.get(name, name)


def policies_of(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Label -> metrics on the test period, CQL's best-on-validation checkpoint first."""
    tested = {"cql best": result["test"]["best"], **result["test"]["baselines"]}
    return {label(name): outcome["metrics"] for name, outcome in tested.items()}


def print_table(kind: str, run: dict[str, Any]) -> None:
    """Print the comparison on the test period."""
    period = run["test"]
    print(
        f"\n{kind} market, test {period['start']} to {period['end']}, {period['steps']} decisions"
    )
    print(f"{'policy':<18}{'return':>10}{'Sharpe':>9}{'drawdown':>10}{'trades':>8}{'fees':>10}")
    for name, metrics in run["policies"].items():
        print(
            f"{name:<18}{metrics['total_return']:>+10.1%}{metrics['sharpe']:>9.2f}"
            f"{metrics['max_drawdown']:>10.1%}{metrics['n_trades']:>8.0f}"
            f"{metrics['fees_paid']:>10.0f}"
        )


def draw(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """Equity curves and learning curve of each market, one row each."""
    figure, axes = plt.subplots(len(runs), 2, figsize=(12, 4.2 * len(runs)), squeeze=False)
    for (kind, run), (left, right) in zip(runs.items(), axes, strict=True):
        curves = pd.read_csv(run["curves"], index_col=0, parse_dates=True)
        for name in curves.columns.drop("cql last"):
            curve = curves[name].dropna()
            left.plot(curve.index, curve / curve.iloc[0], label=label(name), lw=1.1)
        left.set_yscale("log")
        left.set_title(f"{kind} market: equity on the test period")
        left.set_ylabel("equity / initial cash (log)")
        left.grid(alpha=0.3)
        left.legend(fontsize=8)
        left.tick_params(axis="x", rotation=20)
        returns = run["validation_returns"]
        right.plot(range(len(returns)), returns, marker="o")
        right.axhline(0.0, color="grey", lw=0.8)
        right.axvline(run["best_epoch"], color="C1", ls="--", lw=1, label="chosen checkpoint")
        right.set_title("learning curve: log return on the validation period")
        right.set_xlabel("epoch (0: untrained)")
        right.grid(alpha=0.3)
        right.legend(fontsize=8)
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=110)
    plt.close(figure)


def next_steps(kind: str, folder: Path) -> str:
    """The commands to try next."""
    dataset = folder / f"{kind}.hdf5"
    other = KINDS[1 - KINDS.index(kind)]
    return (
        "Next:\n"
        f"  python -m benchmarks.quickstart --market {other}\n"
        f"  python -m data_tools.describe {dataset} --plot dataset.png\n"
        f"  cd offline_algos && python atari_style_il.py --load-buffer-name ../{dataset}\n"
        "  python -m data_tools.collect --market YOUR.csv.gz --save-buffer-name trades.hdf5\n"
        "  cd offline_algos && python atari_style_cql.py --load-buffer-name ../trades.hdf5"
    )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--market", choices=KINDS, default=KINDS[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("quickstart"))
    parser.add_argument("--picture", type=Path, default=Path("quickstart.png"))
    parser.add_argument(
        "--all",
        action="store_true",
        help="both markets, five seeds each, and write results/quickstart.json",
    )
    return parser.parse_args(argv)


def run_all(seeds: Sequence[int], folder: Path) -> dict[str, dict[str, Any]]:
    """Both markets with several seeds, for the README's table; the first seed's runs."""
    runs = {kind: [run_market(kind, seed, folder) for seed in seeds] for kind in KINDS}
    kept = ("transitions", "updates", "fee", "test")
    markets = {
        kind: {key: made[0][key] for key in kept}
        | {"policies": [one["policies"] for one in made]}
        | {"validation_returns": [one["validation_returns"] for one in made]}
        for kind, made in runs.items()
    }
    result = {"machine": describe_machine(), "seeds": list(seeds), "markets": markets}
    print(write_result("quickstart", result))
    return {kind: made[0] for kind, made in runs.items()}


def run(arguments: argparse.Namespace) -> None:
    """Run what was asked for, print the tables, draw the picture."""
    begin = time.perf_counter()
    folder, seed = arguments.folder, arguments.seed
    check_places(folder, arguments.picture)
    if arguments.all:
        runs = run_all(range(seed, seed + SEEDS), folder)
    else:
        runs = {arguments.market: run_market(arguments.market, seed, folder)}
    print("[3/3] results")
    for kind, made in runs.items():
        print_table(kind, made)
    draw(runs, arguments.picture)
    print(f"\npicture: {arguments.picture}; {time.perf_counter() - begin:.0f} s")
    print(next_steps(next(iter(runs)), folder))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    arguments = parse(argv)
    return command_line.run(lambda: run(arguments))


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
