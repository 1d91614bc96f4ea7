"""The published datasets, all of them: tasks, experts' budgets, rules, noise and sizes.

A change here changes the datasets. Everything else in ``suite_*.py`` only carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

KINDS = ("random", "medium", "expert", "mixed", "rule-based")
MIXED_OF = ("random", "medium", "expert")  # a third of the rows each, in whole episodes
SIZES = (10_000, 100_000, 1_000_000)
DEFAULT_SIZES = (10_000, 100_000)
QUICK_SIZES = (500,)

# Medium is the expert's own training, stopped after the epoch, before the expert's, whose
# validation return is nearest to this share of the way from a floor to the expert's. The floor is
# the random policy's return or, on a market, that of no position, 0: random trading goes bankrupt,
# and from there everything else would be near the expert.
MEDIUM_SHARE = 1 / 3

# Sets are collections of their own, none a part of another: each kind and size has its own seed.
# They are far apart, since lane i is seeded with seed + i, and off those of validation and test.
SEED_OF_KIND = {"random": 0, "medium": 1_000, "expert": 2_000, "mixed": 3_000, "rule-based": 4_000}
SEEDS_A_TRANSITION = 100
SEEDS_A_SUITE = 6_000_011


@dataclass(frozen=True)
class TaskSets:
    """A task of the suite, with how its datasets are made.

    Attributes:
        name: Of its folder.
        title: For people.
        task: Environment id.
        environment: Flags of training and of collecting alike.
        script: Trains the expert.
        training: Its flags.
        rule: The rule-based set's policy.
        epsilon: Share of random actions in the medium, expert and rule-based sets.
        note: A sentence that whoever uses the sets should know.
    """

    name: str
    title: str
    task: str
    environment: tuple[str, ...]
    script: str
    training: tuple[str, ...]
    rule: str
    epsilon: float
    note: str

    @property
    def market(self) -> str | None:
        """The market, None where the task is none."""
        flags = self.environment
        return flags[flags.index("--market") + 1] if "--market" in flags else None


SEQUENTIAL = "Trade-Sequential-v0"
# whole episodes of both sizes: 10,000 rows are 50 of them in 50 lanes
EPISODES = ("--episode-steps", "200")
# Steps of less than 0.3 are no orders: a policy of a network can then hold what it has, which it
# could not say exactly, and the best one, all or nothing, is not touched by it.
CONTINUOUS = ("--env", "action_type=continuous", "--env", "rebalance_threshold=0.3")
# Windows of 16 hours know nearly all that the whole past does; see `gym_trade.reversion`.
REVERSION = ("--env", "window_sizes=[16]", *EPISODES)
LONG_OR_FLAT = ("--env", "action_levels=[0,1]")
# Of sizes that an hour or a few reach. A position may be closed before its stop or target.
BRACKETS = (*("--env", "stoploss_levels=[-0.01,-0.03]", "--env", "takeprofit_levels=[0.01,0.03]"),)
CLOSABLE = ("--env", "include_close_action=true")
# A rollout is a bet of six hours at most.
ROLLOUTS = (*BRACKETS, "--env", "rollout_steps=6", "--env", "window_sizes=[16]")
FADING = "mean-reversion:window=8,entry=1.0,exit=0.0"
# Random steps teach most on a market; later epochs fit the price path, and validation chooses.
QRDQN_MARKET = (
    *("--warmup", "100000", "--epoch", "10", "--step-per-epoch", "4000"),
    *("--update-per-step", "0.0625", "--batch-size", "256", "--hidden-sizes", "128", "128"),
    *("--num-quantiles", "16", "--lr", "3e-4", "--gamma", "0.9", "--target-update-freq", "200"),
    *("--eps-train-final", "0.3", "--eps-decay-steps", "40000"),
)
# What is to be learned on these is found in some hundred updates: only short epochs show a medium
# policy.
QRDQN_REVERSION = (
    *("--warmup", "100000", "--epoch", "24", "--step-per-epoch", "1000"),
    *("--update-per-step", "0.0625", "--batch-size", "256", "--hidden-sizes", "128", "128"),
    *("--num-quantiles", "16", "--lr", "3e-4", "--gamma", "0.9", "--target-update-freq", "200"),
    *("--eps-train-final", "0.3", "--eps-decay-steps", "20000"),
)
# A bet is learned without looking beyond it, and sooner.
QRDQN_ROLLOUTS = (
    *("--warmup", "100000", "--epoch", "30", "--step-per-epoch", "250"),
    *("--update-per-step", "0.0625", "--batch-size", "256", "--hidden-sizes", "128", "128"),
    *("--num-quantiles", "16", "--lr", "3e-4", "--gamma", "0.9", "--target-update-freq", "200"),
    *("--eps-train-final", "0.3", "--eps-decay-steps", "20000"),
)
SAC_MARKET = (
    *("--warmup", "200000", "--epoch", "12", "--step-per-epoch", "4000"),
    *("--update-per-step", "0.05", "--batch-size", "256", "--hidden-sizes", "128", "128"),
    *("--lr", "1e-3", "--gamma", "0.9", "--alpha", "0.005"),
)
# Short epochs here too. A deviation of the actions, which entropy keeps up, costs fees.
SAC_REVERSION = (
    *("--warmup", "200000", "--epoch", "48", "--step-per-epoch", "500"),
    *("--update-per-step", "0.08", "--batch-size", "256", "--hidden-sizes", "128", "128"),
    *("--lr", "5e-4", "--gamma", "0.9", "--alpha", "0.0003"),
)
LEARNABLE = (
    "The market is simulated and hides a deviation that decays with a half-life of 20 minutes, "
    "made strong enough to be learned: returns say nothing about real markets."
)
COMPUTED = (
    "The market is simulated, and its best policy is known: python -m benchmarks.optimum says what "
    "it earns. Returns say nothing about real markets."
)
BRACKETED = (
    "The market is simulated and shows the deviation that decays. The optimum with stops and "
    "targets is not computed. Returns say nothing about real markets."
)
FAIR = (
    "The market is a fair game: before costs no policy earns anything, so that there is no expert. "
    "What is called so was chosen on validation, by luck. For tests of methods that must not find "
    "what is not there."
)
OF_A_FILE = (
    "The bars are not part of this folder; whoever publishes it must have looked at their licence."
)

TASKS = (
    TaskSets(
        "mean-reverting-levels", "Learnable market, discrete levels", SEQUENTIAL,
        ("--market", "synthetic:mean_reverting", *EPISODES),
        "atari_style_qrdqn", QRDQN_MARKET, "mean-reversion", 0.02, LEARNABLE,
    ),
    TaskSets(
        "mean-reverting-continuous", "Learnable market, continuous exposure", SEQUENTIAL,
        ("--market", "synthetic:mean_reverting", *CONTINUOUS, *EPISODES),
        "d4rl_style_sac", SAC_MARKET, "mean-reversion", 0.02, LEARNABLE,
    ),
    TaskSets(
        "martingale-levels", "Market that is a fair game, discrete levels", SEQUENTIAL,
        ("--market", "synthetic:martingale", *EPISODES),
        "atari_style_qrdqn", QRDQN_MARKET, "ma-cross", 0.02, FAIR,
    ),
    TaskSets(
        "martingale-continuous", "Market that is a fair game, continuous exposure", SEQUENTIAL,
        ("--market", "synthetic:martingale", *CONTINUOUS, *EPISODES),
        "d4rl_style_sac", SAC_MARKET, "ma-cross", 0.02, FAIR,
    ),
    *(
        TaskSets(
            f"reversion-{grade}-levels", f"Market with a known optimum, {grade}, discrete levels",
            SEQUENTIAL, ("--market", f"synthetic:reversion_{grade}", *LONG_OR_FLAT, *REVERSION),
            "atari_style_qrdqn", QRDQN_REVERSION, FADING, 0.02, COMPUTED,
        )
        for grade in ("easy", "medium", "hard")
    ),
    TaskSets(
        "reversion-easy-continuous", "Market with a known optimum, easy, continuous exposure",
        SEQUENTIAL, ("--market", "synthetic:reversion_easy", *CONTINUOUS, *REVERSION),
        "d4rl_style_sac", SAC_REVERSION, FADING, 0.02, COMPUTED,
    ),
    TaskSets(
        "reversion-easy-sltp", "Market with a known law, easy, stops and targets", "Trade-SLTP-v0",
        ("--market", "synthetic:reversion_easy", *BRACKETS, *CLOSABLE, *REVERSION),
        "atari_style_qrdqn", QRDQN_REVERSION, FADING, 0.02, BRACKETED,
    ),
    TaskSets(
        "reversion-easy-onestep", "Market with a known law, easy, one-step bets",
        "Trade-OneStep-v0", ("--market", "synthetic:reversion_easy", *ROLLOUTS),
        "atari_style_qrdqn", QRDQN_ROLLOUTS, FADING, 0.02, BRACKETED,
    ),
    TaskSets(
        "cartpole", "CartPole-v1", "CartPole-v1", (),
        "atari_style_qrdqn",
        # short epochs: from falling to balancing it takes but a few hundred steps
        (*("--warmup", "500", "--epoch", "30", "--step-per-epoch", "250"),
         *("--update-per-step", "0.2", "--batch-size", "64", "--hidden-sizes", "64", "64"),
         *("--lr", "1e-3", "--target-update-freq", "100", "--eps-decay-steps", "5000"),
         *("--num-test-envs", "20")),
        "balance", 0.1, "The rule is a linear controller written by hand.",
    ),
    TaskSets(
        "pendulum", "Pendulum-v1", "Pendulum-v1", (),
        "d4rl_style_sac",
        (*("--warmup", "1000", "--epoch", "30", "--step-per-epoch", "200"),
         *("--update-per-step", "1", "--batch-size", "128", "--hidden-sizes", "64", "64"),
         *("--lr", "1e-3")),
        "swing-up", 0.1,
        "The rule pumps energy until the pendulum is upright, then holds it.",
    ),
)  # fmt: skip

# --quick: the whole line in a minute; the experts are none.
QUICK = (
    *("--warmup", "400", "--epoch", "2", "--step-per-epoch", "400", "--update-per-step", "0.1"),
    *("--batch-size", "16", "--hidden-sizes", "8", "--num-test-envs", "2"),
)


def market_tasks(path: str, environment: tuple[str, ...]) -> tuple[TaskSets, ...]:
    """The two tasks of a market file, by the recipes of the learnable market.

    Args:
        path: The file.
        environment: Further ``--env`` flags.
    """
    made = []
    for name, recipe, kind in (("levels", TASKS[0], ()), ("continuous", TASKS[1], CONTINUOUS)):
        made.append(
            replace(
                recipe, name=f"market-{name}", title=f"Market file, {name}",
                environment=("--market", path, *kind, *environment, *EPISODES),
                rule="ma-cross", note=OF_A_FILE,
            )
        )  # fmt: skip
    return tuple(made)


def quickened(task: TaskSets) -> TaskSets:
    """The same task with a budget of seconds."""
    return replace(task, training=with_flags(task.training, QUICK))


def with_flags(words: tuple[str, ...], changes: tuple[str, ...]) -> tuple[str, ...]:
    """Flags with their values, some of them changed, the others as they are."""
    flags: dict[str, list[str]] = {}
    for group in (words, changes):
        for word in group:
            if word.startswith("--"):
                flag = word
                flags[flag] = []
            else:
                flags[flag].append(word)
    return tuple(word for flag, values in flags.items() for word in (flag, *values))


def seed_of(kind: str, size: int, seed: int) -> int:
    """The seed of one set, from the suite's."""
    return seed * SEEDS_A_SUITE + size * SEEDS_A_TRANSITION + SEED_OF_KIND[kind]


def size_name(size: int) -> str:
    """A size as file names have it: "10k", "1M"."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)
