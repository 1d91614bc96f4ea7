"""What the scores benchmark runs: tasks, datasets, methods with their flags, and three suites.

A change here changes the results. Datasets and experts are those of `suite_config`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.scores_cell import Cell
from benchmarks.suite_config import TASKS as SUITE_TASKS
from benchmarks.suite_config import TaskSets

DISCRETE = ("il", "bcq", "cql", "crr", "iql", "dt")
CONTINUOUS = ("il", "bcq", "cql", "crr", "td3_bc", "iql", "dt")

# Small networks and few steps: what is to be found on these markets is simple, and later epochs
# fit the price path. The checkpoint is chosen on validation.
COMMON = (
    *("--hidden-sizes", "64", "64", "--batch-size", "256", "--lr", "1e-3", "--gamma", "0.9"),
    *("--epoch", "5", "--update-per-epoch", "600"),
    *("--logger", "none", "--device", "cpu", "--threads", "1"),
)
# A transformer's step takes a hundred times as long, and it learns from a twentieth of them.
TRANSFORMER = (
    *("--context-length", "10", "--embedding-size", "32", "--num-layers", "1", "--lr", "1e-3"),
    *("--warmup-steps", "100", "--batch-size", "64", "--epoch", "4", "--update-per-epoch", "200"),
    *("--target-return", "best"),
    *("--logger", "none", "--device", "cpu", "--threads", "1"),
)
# On a market an action's advantage is a small part of a reward's deviation: weights that are to
# tell actions apart must be steeper than on robots.
OWN: dict[str, tuple[str, ...]] = {
    "atari_style_bcq": ("--unlikely-action-threshold", "0.1"),
    "atari_style_crr": ("--beta", "0.1"),
    "atari_style_iql": ("--temperature", "30"),
    "d4rl_style_crr": ("--beta", "0.1"),
    "d4rl_style_iql": ("--temperature", "30"),
    # The noise of TD3's targets is a tenth of the box on robots; here it would cost fees.
    "d4rl_style_td3_bc": (
        *("--alpha", "10", "--update-actor-freq", "1"),
        *("--policy-noise", "0.05", "--noise-clip", "0.1"),
    ),
    "d4rl_style_cql": ("--alpha", "0.01", "--cql-weight", "0.5"),
}
# Variants: a name, and the flags that make it so.
Variant = tuple[str, tuple[str, ...]]
CRR_WITH_CQL: Variant = ("cql", ("--min-q-weight", "1"))
CANDIDATES = 16
BY_VALUE: Variant = ("by-value", ("--num-candidates", str(CANDIDATES)))


@dataclass(frozen=True)
class ScoreTask:
    """A task as the benchmark runs it.

    Attributes:
        sets: Its datasets.
        methods: What is trained on them.
    """

    sets: TaskSets
    methods: tuple[str, ...]

    @property
    def name(self) -> str:
        """As in the suite."""
        return self.sets.name

    @property
    def continuous(self) -> bool:
        """Whether its actions are."""
        return self.sets.script.startswith("d4rl_style")

    def script(self, method: str) -> str:
        """The module of ``offline_algos`` that trains a method here."""
        return f"{'d4rl' if self.continuous else 'atari'}_style_{method}"

    def words(self, method: str) -> tuple[str, ...]:
        """Flags of a method, but for places, seed and what a cell adds."""
        if method == "dt":
            return TRANSFORMER
        words = (*COMMON, *OWN.get(self.script(method), ()))
        return without(words, "--gamma") if method == "il" else words


def without(words: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """Flags without one of them and its value."""
    place = words.index(flag)
    return words[:place] + words[place + 2 :]


TASKS = {
    sets.name: ScoreTask(sets, CONTINUOUS if sets.script.startswith("d4rl") else DISCRETE)
    for sets in SUITE_TASKS
    if sets.market is not None
}


def task_title(name: str) -> str:
    """For people; of a market of somebody's own, read from a result, its name."""
    return TASKS[name].sets.title if name in TASKS else name


@dataclass(frozen=True)
class Suite:
    """A matrix of cells.

    Attributes:
        tasks: Their names.
        kinds: Of datasets.
        sizes: Of datasets, transitions.
        seeds: How many.
        methods: None: all of a task.
        ablation: The task and the kind of dataset on which observation normalisation, CRR with
            CQL's term and sizes are compared; None: nowhere.
        ablation_sizes: The other sizes there.
        variants: Task, kind of dataset, method and variant, beside the method as it is.
        swept: Tasks and kinds of datasets whose policies are walked at other fees.
        asked: Those whose Decision Transformers are asked for other returns.
        swept_seeds: Of how many seeds both are done, the first ones.
        judged: Tasks and kinds of datasets whose policies fitted Q evaluation is compared on.
        extra: Further (task, kind of dataset), of all sizes and with all methods.
        folds: The task and the kind of data ("random" or "rule-based") that are evaluated
            walk-forward, and how many folds; None: none.
    """

    tasks: tuple[str, ...]
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: int
    methods: tuple[str, ...] | None = None
    ablation: tuple[str, str] | None = None
    ablation_sizes: tuple[int, ...] = field(default=(10_000,))
    variants: tuple[tuple[str, str, str, Variant], ...] = ()
    swept: tuple[tuple[str, str], ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    swept_seeds: int = 3
    judged: tuple[tuple[str, str], ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    folds: tuple[tuple[str, str], int] | None = None

    @property
    def kinds_of_tasks(self) -> dict[str, tuple[str, ...]]:
        """Task to its kinds of datasets."""
        made = {name: self.kinds for name in self.tasks}
        for name, kind in self.extra:
            made[name] = (*made.get(name, ()), kind)
        return made


EASY, MARTINGALE = "reversion-easy-levels", "martingale-levels"
EASY_CONTINUOUS = "reversion-easy-continuous"
FAIR_CONTINUOUS = ("martingale-continuous", "medium")  # TD3+BC must find nothing there either
SLTP, ONESTEP = "reversion-easy-sltp", "reversion-easy-onestep"
THREE = ("random", "medium", "expert")
BRACKETED = tuple((task, kind) for task in (SLTP, ONESTEP) for kind in THREE)
SWEPT = (
    *((EASY, "expert"), (EASY_CONTINUOUS, "expert"), (MARTINGALE, "medium")),
    *((SLTP, "expert"), (ONESTEP, "expert")),
)
# Whose policies would answer between all and nothing, which is what their data did.
VALUED = tuple(
    (EASY_CONTINUOUS, kind, method, BY_VALUE)
    for kind in ("random", "medium")
    for method in ("crr", "iql")
)
ASKED = ((EASY, "random"), (EASY, "medium"))
JUDGED = ((EASY, "medium"), (EASY_CONTINUOUS, "medium"))
SUITES = {
    "quick": Suite(
        (EASY, MARTINGALE), ("medium",), (10_000,), seeds=2, methods=("il", "cql", "iql"),
        swept=((EASY, "medium"),), judged=((EASY, "medium"),),
    ),
    "small": Suite(
        (EASY, EASY_CONTINUOUS, MARTINGALE), THREE, (100_000,), seeds=5,
        ablation=(EASY, "medium"), swept=SWEPT, asked=ASKED, judged=JUDGED,
        extra=(*BRACKETED, FAIR_CONTINUOUS), folds=((EASY, "random"), 3), variants=VALUED,
    ),
    "full": Suite(
        tuple(TASKS), (*THREE, "mixed", "rule-based"),
        (10_000, 100_000, 1_000_000), seeds=10, ablation=(EASY, "medium"),
        ablation_sizes=(10_000, 1_000_000), swept=SWEPT, asked=ASKED, swept_seeds=10,
        judged=JUDGED, folds=((EASY, "random"), 4), variants=VALUED,
    ),
}  # fmt: skip


def cells_of(suite: Suite) -> list[Cell]:
    """All cells of a suite, none twice, seed by seed: an interrupted run has whole seeds."""
    made = []
    for seed in range(suite.seeds):
        for name, kinds in suite.kinds_of_tasks.items():
            for method in TASKS[name].methods:
                if suite.methods is None or method in suite.methods:
                    made += [
                        Cell(name, kind, size, method, seed)
                        for size in suite.sizes
                        for kind in kinds
                    ]
        made += _ablation(suite, seed)
        made += [
            Cell(task, kind, suite.sizes[-1], method, seed, variant=name, flags=flags)
            for task, kind, method, (name, flags) in suite.variants
        ]
    return list(dict.fromkeys(made))


def _ablation(suite: Suite, seed: int) -> list[Cell]:
    if suite.ablation is None:
        return []
    name, kind = suite.ablation
    size, task = suite.sizes[-1], TASKS[name]
    made = [Cell(name, kind, size, method, seed, norm_obs=False) for method in task.methods]
    variant, flags = CRR_WITH_CQL
    made.append(Cell(name, kind, size, "crr", seed, variant=variant, flags=flags))
    for other in suite.ablation_sizes:
        made += [Cell(name, kind, other, method, seed) for method in task.methods]
    return made
