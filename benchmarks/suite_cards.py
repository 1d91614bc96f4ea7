"""The card of a dataset of the suite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from benchmarks.markdown import table
from benchmarks.suite_config import TaskSets, size_name

NONE = "-"
WHAT = {
    "random": "Every action is drawn evenly.",
    "medium": "The expert's training, stopped early.",
    "expert": "The policy that validated best in its training.",
    "mixed": "A third of the rows each from the random, the medium and the expert set of this "
    "size, in whole episodes.",
    "rule-based": "A rule written by hand.",
}
OPEN = """```python
from tianshou.data import ReplayBuffer
buffer = ReplayBuffer.load_hdf5("{name}")  # nothing else needs to be installed

from data_tools.buffers import TensorReplayBuffer
buffer, provenance = TensorReplayBuffer.load("{name}")  # without pickle, sampled as tensors
```"""


def card_of(path: str) -> str:
    """Where the card of a dataset stands."""
    return str(PurePosixPath(path).with_suffix(".md"))


# --- a card -----------------------------------------------------------------------------------


def card(path: str, entry: dict[str, Any], manifest: dict[str, Any], task: TaskSets | None) -> str:
    """The card of one dataset, Markdown with the metadata block that dataset hubs read."""
    title = task.title if task is not None else entry["task"]
    of_a_file = entry.get("market", {}).get("kind") == "file"
    blocks = [
        _metadata(f"{title}: {entry['kind']}, {size_name(entry['size'])}", entry, of_a_file),
        f"# {title}: {entry['kind']}, {size_name(entry['size'])} transitions",
        f"{WHAT[entry['kind']]} {'' if task is None else task.note}".strip(),
        "## In numbers\n\n" + _numbers(path, entry),
        "## How it was made\n\n" + _making(entry, manifest),
    ]
    if entry["kind"] in ("medium", "expert", "mixed"):
        blocks.append("## What the policies are worth\n\n" + _worth(entry, manifest))
    blocks += [
        "## Use\n\n" + OPEN.format(name=PurePosixPath(path).name),
        "## What to know\n\n" + "\n".join(f"* {line}" for line in _notes(entry)),
    ]
    return "\n\n".join(blocks) + "\n"


def _metadata(title: str, entry: dict[str, Any], of_a_file: bool) -> str:
    rows = entry["rows"]
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "n>10M")
    size = names[sum(rows >= edge for edge in (1e3, 1e4, 1e5, 1e6, 1e7))]
    tags = ["reinforcement-learning", "offline-rl", "tianshou", entry["kind"]]
    lines = [
        f"pretty_name: {json.dumps(title)}",
        f"license: {'other' if of_a_file else 'mit'}",
        "task_categories:\n- reinforcement-learning",
        "tags:\n" + "\n".join(f"- {tag}" for tag in tags),
        f"size_categories:\n- {size}",
    ]
    return "---\n" + "\n".join(lines) + "\n---"


def _numbers(path: str, entry: dict[str, Any]) -> str:
    action = entry["action"]
    actions = action["type"] + _meaning(action)
    references = {
        f"return of the {kind} set, an episode": _reference(entry["reference_returns"][kind])
        for kind in ("random", "expert")
    }
    rows = {
        "file": f"`{PurePosixPath(path).name}`, {entry['bytes']:,} bytes",
        "environment": f"`{entry['environment_id']}`",
        "transitions": f"{entry['rows']:,}",
        "episodes": f"{entry['episodes']:,}: {entry['complete_episodes']:,} complete, of which "
        f"{entry['terminated_episodes']:,} terminated, and {entry['cut_episodes']:,} cut",
        "return of an episode": spread(entry["behavior_return"], entry["behavior_return_std"]),
        **references,
        "D4RL's measure (0 random, 100 expert)": score(entry),
        "mean length of an episode": f"{entry['mean_episode_length']:.6g}",
        "observation": f"{entry['observation_columns']} numbers, float32",
        "actions": actions,
        "SHA-256": f"`{entry['sha256']}`",
    }
    if "span" in entry:
        rows["dates"] = f"{entry['span']['start']} to {entry['span']['end']}"
        rows["market's hash"] = f"`{entry['market']['content_hash']}`"
    return table(["", "value"], [[name, text] for name, text in rows.items()])


def _meaning(action: dict[str, Any]) -> str:
    """What a market's actions are: levels, or orders with stop and target."""
    if action.get("levels"):
        return f", levels {action['levels']}"
    orders = [
        made.get("order")
        or f"{'long' if made['level'] > 0 else 'short'} {made['stop']:+.4g} {made['target']:+.4g}"
        for made in action.get("brackets") or []
    ]
    return f": {', '.join(orders)} (stop and target, of the entry price)" if orders else ""


def _making(entry: dict[str, Any], manifest: dict[str, Any]) -> str:
    """The commands, those of what it was made from first."""
    commands = []
    for name in _ancestors(entry, manifest):
        made = manifest["policies"].get(name) or manifest["files"][name]
        note = ""
        if "file_of_the_run" in made:
            note = f"  # its {made['file_of_the_run']} is {name}"
        commands.append(made["command"] + note)
    lines = "\n".join([*commands, entry["command"]])
    versions = ", ".join(f"{name} {version}" for name, version in sorted(entry["versions"].items()))
    return (
        f"In the suite's folder:\n\n```console\n{lines}\n```\n\nCommit {entry['commit']}; "
        f"{versions}. On one machine the same commands give the same bytes."
    )


def _ancestors(entry: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for name in entry["made_from"]:
        made = manifest["policies"].get(name) or manifest["files"].get(name)
        if made is not None:
            found += [*_ancestors(made, manifest), name]
    return list(dict.fromkeys(found))


def _worth(entry: dict[str, Any], manifest: dict[str, Any]) -> str:
    """What the trained policies reached, beside the simple ones."""
    policies = {
        made["kind"]: made
        for made in manifest["policies"].values()
        if made["task"] == entry["task"]
    }
    tested: dict[str, dict[str, Any]] = {}
    for made in policies.values():
        tested |= made["test"]
    market = any("total_return" in scores for scores in tested.values())
    header = ["policy", "return", "Sharpe", "max. drawdown", "turnover"] if market else [
        "policy", "return", "deviation"]  # fmt: skip
    rows = []
    for name, scores in tested.items():
        if market:
            cells = [f"{scores['total_return']:+.2%}", f"{scores['sharpe']:.2f}",
                     f"{scores['max_drawdown']:.2%}", f"{scores['turnover']:.1f}"]  # fmt: skip
        else:
            cells = [f"{scores['return']:.6g}", f"{scores['std']:.3g}"]
        rows.append([name, *cells])
    expert = policies["expert"]
    where = "Test episodes of fixed seeds."
    if "test_period" in expert:
        period = expert["test_period"]
        where = f"One pass over the test period, {period['start']} to {period['end']}."
    lines = [
        f"{where} Method {expert['method']}; the expert is epoch {expert['epoch']} of "
        f"{expert['epochs']}, chosen on validation.",
        table(header, rows),
        verdict(tested, market),
    ]
    if "medium" in policies:
        lines.append(f"Medium is {policies['medium']['definition']}.")
    return "\n\n".join(lines)


def verdict(tested: dict[str, dict[str, Any]], market: bool) -> str:
    """Whether the expert earned its name, in a sentence."""
    key = "total_return" if market else "return"
    expert = tested["expert"][key]
    others = {
        name: scores[key] for name, scores in tested.items() if name not in ("expert", "medium")
    }
    best = max(others, key=lambda name: others[name])
    if expert > others[best]:
        return f"The expert is better than every simple policy; {best} comes next."
    return (
        f"**The expert is no better than {best}.** With this budget, on this task, it is one by "
        "name only."
    )


def _notes(entry: dict[str, Any]) -> Iterator[str]:
    yield (
        "Tianshou's flat ReplayBuffer layout, HDF5 without pickled parts; the attribute "
        "`provenance` says how to build the environment again."
    )
    yield "An episode that was still running when its rows were full is marked truncated."
    if entry["kind"] == "mixed":
        yield "Episodes of the random part come first, then medium, then expert: shuffle."
    if "span" in entry:
        yield (
            "The policies were trained on the dates of the collection: their returns here are not "
            "those of unseen dates. Judge on what comes after."
        )
        yield "Rewards are log returns of equity, after fees."
    if entry.get("market", {}).get("kind") == "file":
        yield "The path of the market file is that of its maker's machine."


# --- numbers ----------------------------------------------------------------------------------


def spread(mean: float, std: float) -> str:
    """Mean and deviation of a return."""
    return f"{mean:.6g} ± {std:.3g}"


def _reference(reference: dict[str, Any] | None) -> str:
    if reference is None:
        return NONE
    return (
        f"{spread(reference['mean'], reference['std'])} ({reference['episodes']:,} episodes of "
        f"`{PurePosixPath(reference['file']).name}`)"
    )


def score(entry: dict[str, Any]) -> str:
    """100 (behaviour - random) / (expert - random); "-" without an expert better than random."""
    random, expert = (entry["reference_returns"][kind] for kind in ("random", "expert"))
    if random is None or expert is None or expert["mean"] <= random["mean"]:
        return NONE
    share = (entry["behavior_return"] - random["mean"]) / (expert["mean"] - random["mean"])
    return f"{100 * share:.1f}"
