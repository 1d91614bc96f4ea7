"""The statistics of the benchmark, under one name.

| question | function |
|---|---|
| one score for several tasks and seeds | `interquartile_mean`, `stratified_bootstrap` |
| is one method better, and how surely | `stratified_difference`, `probability_of_improvement` |
| how many runs reach a score | `performance_profile` |
| the same, given that all seeds share one price path | `joint_bootstrap`, `joint_difference` |
| is this Sharpe ratio above zero; after so many trials | `probabilistic_sharpe`, `deflate_best` |
| would the winner have been worth choosing | `backtest_overfitting` |
| do seeds agree on the order | `rank_stability` |
| does an estimate order policies as the truth does | `rank_correlation` |

Plain functions of arrays: no files, no global random state; equal arguments and seeds give equal
numbers. What is malformed, missing or not finite is a ValueError. What is well-formed but too
little for an interval, such as one seed, has an interval of NaN: none is made up.

scipy does ranks and distributions. It is not used for `interquartile_mean` (`trim_mean` has no
leading axes to resample over, though the numbers are its), nor for bootstraps
(`scipy.stats.bootstrap` knows neither strata nor time), nor for Mann-Whitney's statistic, which it
takes one task at a time.
"""

from __future__ import annotations

from benchmarks.aggregate import (
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    stratified_bootstrap,
    stratified_difference,
    stratified_draws,
)
from benchmarks.blocks import BlockLength, block_length, circular_indices, stationary_indices
from benchmarks.comparison import Profile, performance_profile, probability_of_improvement
from benchmarks.deflation import (
    Deflated,
    deflate_best,
    deflated_sharpe,
    expected_maximum_sharpe,
)
from benchmarks.intervals import Interval
from benchmarks.overfitting import Overfitting, backtest_overfitting
from benchmarks.ranks import (
    Stability,
    concordance,
    holm,
    rank_correlation,
    rank_stability,
    verdict,
)
from benchmarks.sharpe import (
    Moments,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    sharpe_ratio,
    sharpe_standard_error,
)
from benchmarks.time_bootstrap import joint_bootstrap, joint_difference
from benchmarks.time_draws import (
    common_block_length,
    interquartile_mean_over_seeds,
    joint_draws,
    mean_over_seeds,
    total_log_return,
)

__all__ = [
    "BlockLength",
    "Deflated",
    "Interval",
    "Moments",
    "Overfitting",
    "Profile",
    "Stability",
    "backtest_overfitting",
    "block_length",
    "circular_indices",
    "common_block_length",
    "concordance",
    "deflate_best",
    "deflated_sharpe",
    "expected_maximum_sharpe",
    "holm",
    "interquartile_mean",
    "interquartile_mean_over_seeds",
    "joint_bootstrap",
    "joint_difference",
    "joint_draws",
    "mean",
    "mean_over_seeds",
    "median",
    "minimum_track_record",
    "moments",
    "optimality_gap",
    "performance_profile",
    "probabilistic_sharpe",
    "probability_of_improvement",
    "rank_correlation",
    "rank_stability",
    "sharpe_ratio",
    "sharpe_standard_error",
    "stationary_indices",
    "stratified_bootstrap",
    "stratified_difference",
    "stratified_draws",
    "total_log_return",
    "verdict",
]
