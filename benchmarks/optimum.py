"""Print the true optimum of a learnable market, costs included, and check it by simulation.

Example: ``python -m benchmarks.optimum --task easy --fee 0.0004`` prints the optimal growth a
decision with its proven bounds (`reversion_optimum` says how it is found), the policy that attains
it as ``data_tools.collect --policy`` takes it, and what it and others earn in the environment
(`optimum_check`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.markdown import table
from benchmarks.optimum_check import FEWEST_MARKETS, MOST_SEED, check
from benchmarks.reversion_optimum import DEFAULT_FEE, Optimum, optimum
from data_tools.command_line import ArgumentParser, CommandLineError, run, terminate_cleanly
from gym_trade.reversion import MODELS

SWEEP = (0.0, 0.0005, 0.001, 0.0025)


def report(found: Optimum, decisions: int) -> str:
    """The optimum for people, with its expected total over some decisions."""
    belief, model = MODELS[found.kind].belief(), MODELS[found.kind]
    (low, high), (least, most) = found.gain_range, found.total(decisions)
    basis = 1e4 * found.gain
    known = "shown" if model.shown else f"hidden, filter gain {belief.gain:.4f}"
    lines = [
        f"{found.kind}: fee {1e4 * found.fee:g} bp, slippage {1e4 * found.slippage:g} bp",
        f"deviation     {known}; decay {model.decay:g}; belief's deviation {belief.spread:.6f}",
        f"gain          {basis:.6f} bp of log growth a decision",
        f"proven        {1e4 * low:.6f} to {1e4 * high:.6f} bp with exposures 0 and 1; with those "
        f"between at most {1e4 * (high + found.between):.4f} bp",
        f"in a period   of {decisions:,} decisions {least:.4f} to {most:.4f} of log growth is "
        "expected of the best, flat at first",
        f"buy-and-hold  {1e4 * found.buy_and_hold:.4f} bp",
    ]
    if found.policy == "flat":
        return "\n".join([*lines, "policy        flat: costs are too high for any trade"])
    spread = belief.spread
    return "\n".join(
        [
            *lines,
            f"flat          enters where the belief is below {found.enter:.6f} "
            f"({found.enter / spread:+.3f} deviations), else stays",
            f"long          leaves where the belief is above {found.leave:.6f} "
            f"({found.leave / spread:+.3f} deviations), else stays",
            f"--policy      {found.policy}",
        ]
    )


def sweep(task: str, slippage: float = 0.0) -> str:
    """Markdown table of the optimum over fees."""
    rows = []
    for fee in SWEEP:
        found = optimum(task, fee, slippage)
        low, high = (1e4 * bound for bound in found.gain_range)
        rows.append(
            [f"{1e4 * fee:g}", f"{1e4 * found.gain:.4f}", f"{low:.4f} to {high:.4f}",
             f"{found.enter:.6f}", f"{found.leave:.6f}"]
        )  # fmt: skip
    return table(["fee, bp", "optimum, bp a decision", "proven", "enter", "leave"], rows)


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks.optimum", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("--task", default="easy", help="easy, medium or hard (default: %(default)s)")
    add("--fee", type=float, default=DEFAULT_FEE, metavar="F",
        help="fraction of traded notional (default: %(default)s)")
    add("--slippage", type=float, default=0.0, metavar="S",
        help="adverse fraction of the price at each fill (default: %(default)s)")
    add("--decisions", type=int, default=20_000, metavar="N",
        help="length of a period whose expected total is printed (default: %(default)s)")
    add("--sweep", action="store_true", help="also a table over fees of 0, 5, 10 and 25 bp")
    add("--markets", type=int, default=16, metavar="N",
        help="simulated markets of the check; 0: none (default: %(default)s)")
    add("--seed", type=int, default=1000, help="the check's first seed (default: %(default)s)")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, 1 where the check fails, 2 for bad input, 130 after Ctrl-C."""
    failed = False

    def command() -> None:
        nonlocal failed
        args = _parser().parse_args(argv)
        if args.markets and args.markets < FEWEST_MARKETS:
            raise CommandLineError(
                f"--markets {args.markets}: expected 0, or at least {FEWEST_MARKETS}."
            )
        if args.decisions < 1:
            raise CommandLineError(f"--decisions {args.decisions}: expected at least 1.")
        if not 0 <= args.seed <= MOST_SEED:
            raise CommandLineError(f"--seed {args.seed}: expected 0 to {MOST_SEED}.")
        found = optimum(args.task, args.fee, args.slippage)
        print(report(found, args.decisions))
        if args.sweep:
            print("\n" + sweep(args.task, args.slippage))
        if args.markets:
            checked = check(found, args.markets, args.seed)
            print("\n" + checked.text)
            failed = not checked.agrees

    return run(command, interrupted="interrupted.") or int(failed)


if __name__ == "__main__":
    terminate_cleanly()
    sys.exit(main())
