"""What a suite's manifest says about each file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.suite_config import MEDIUM_SHARE
from benchmarks.suite_plan import Step, medium_epoch
from data_tools.environment import TASKS, reopen_market
from data_tools.files import replacing, sha256
from data_tools.flat_layout import read_provenance
from offline_algos.checkpoint import load_policy
from offline_algos.evaluation import evaluate_rule

NAME = "manifest.json"
FORMAT = "gym-trade dataset suite"
FORMAT_VERSION = 1
REFERENCES = ("random", "expert")
TESTED = ("return", "std", "steps", "terminated")
METRICS = ("total_return", "sharpe", "max_drawdown", "turnover")


class SuiteError(ValueError):
    """A suite that cannot be made, or that is not what its manifest says."""


def empty() -> dict[str, Any]:
    """The manifest of a folder in which nothing is made."""
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "policies": {}, "files": {}}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder, None where there is none.

    Raises:
        SuiteError: It is not one that this version writes.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SuiteError(f"{path} cannot be read: {error}. Remove it to begin anew.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise SuiteError(f"{path} is no manifest of a suite. Name another folder.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise SuiteError(
            f"{path} has format_version {manifest.get('format_version')!r}, expected "
            f"{FORMAT_VERSION}: another release of this package wrote it. Name another folder."
        )
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write it, whole or not at all, its entries in the order of their names."""
    ordered = manifest | {
        part: dict(sorted(manifest[part].items())) for part in ("policies", "files")
    }
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(ordered, indent=1, allow_nan=False) + "\n")


# --- entries ----------------------------------------------------------------------------------


def is_made(step: Step, folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether a file is there, by the same command and from the same files as would be now."""
    entry = part_of(manifest, step).get(step.path)
    if entry is None or entry["command"] != command_text(step.command(manifest)):
        return False
    if entry["made_from"] != _hashes(step, manifest):
        return False
    path = folder / step.path
    return path.is_file() and sha256(path) == entry["sha256"]


def part_of(manifest: dict[str, Any], step: Step) -> dict[str, Any]:
    """Where a step's entry stands."""
    part: dict[str, Any] = manifest["policies" if step.is_policy else "files"]
    return part


def command_text(words: list[str]) -> str:
    """A command as one types it."""
    return shlex.join(["python", "-m", *words])


def _hashes(step: Step, manifest: dict[str, Any]) -> dict[str, str]:
    entries = manifest["policies"] | manifest["files"]
    return {name: entries[name]["sha256"] for name in step.needs if name in entries}


def describe(step: Step, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The entry of a file that was just made.

    Args:
        step: The file.
        folder: The suite's.
        manifest: With the entries of what the file was made from.
    """
    machine = describe_machine()
    common = {
        "sha256": sha256(folder / step.path),
        "bytes": (folder / step.path).stat().st_size,
        "task": step.task.name,
        "environment_id": step.task.task,
        "kind": step.kind,
        "seed": step.seed,
        "command": command_text(step.command(manifest)),
        "made_from": _hashes(step, manifest),
        "commit": machine["commit"],
        "versions": machine["versions"] | {"python": machine["python"]},
    }
    more = _policy_facts if step.is_policy else _dataset_facts
    return common | more(step, folder, manifest)


def _dataset_facts(step: Step, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    provenance = read_provenance(folder / step.path)
    assert provenance is not None
    reference = provenance["reference"]
    made = {
        "rows": provenance["buffer_size"],
        "size": step.size,
        "episodes": reference["complete_episodes"] + reference["cut_episodes"],
        **reference,
        "policy": provenance["policy"],
        "observation_columns": provenance["layout"][-1]["stop"],
        "action": provenance["action"],
    }
    if "span" in provenance:
        made |= {"span": provenance["span"], "market": provenance["market"]}
    return made


def run_result(step: Step, folder: Path) -> Path:
    """The result.json of the run that trained a policy.

    Raises:
        SuiteError: There is not just one.
    """
    found = list((folder / step.log_folder).rglob("result.json"))
    if len(found) != 1:
        raise SuiteError(f"{folder / step.log_folder} has {len(found)} results, expected one.")
    return found[0]


def _policy_facts(step: Step, folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    result = json.loads(run_result(step, folder).read_text())
    name = "best" if step.kind == "expert" else "last"
    baselines = result["test"]["baselines"]
    market = step.task.market is not None
    made = {
        "method": result["method"],
        "file_of_the_run": result["checkpoints"][name],
        "epoch": result["best_epoch"] if step.kind == "expert" else result["epochs"],
        "epochs": result["epochs"],
        "validation_returns": result["validation_returns"],
        "floor": 0.0 if market else baselines["random"]["return"],
        "test": {step.kind: _scores(result["test"][name])}
        | {rule: _scores(scores) for rule, scores in baselines.items()},
    }
    if market:
        made["test"][step.task.rule] = _scores(_test_rule(step.task.rule, folder / step.path))
        made["test_period"] = result["evaluation"]["test"]
    if step.kind == "medium":
        expert = manifest["policies"][step.needs[0]]
        epoch, aim = medium_epoch(expert)
        made["definition"] = (
            f"the expert's training after epoch {epoch}: before the expert's epoch the one whose "
            f"validation return is nearest to {aim:.6g}, {MEDIUM_SHARE:.3g} of the way from "
            f"{made['floor']:.6g} to the expert's"
            + (" (which has none before it)" if result["epochs"] == expert["epoch"] else "")
        )
    return made


def _test_rule(rule: str, checkpoint: Path) -> dict[str, Any]:
    """What a rule earns on the dates that a policy was tested on."""
    about = load_policy(checkpoint).about
    judged = about["evaluation"]
    known = {k: v for k, v in about["configuration"].items() if k != "df"}
    config = TASKS[about["task"]].config_class.from_json(json.dumps(known))
    config = config.replace(df=reopen_market(judged["market"], echo=None))
    return evaluate_rule(rule, config, judged["test"]["start"], judged["test"]["end"])


def _scores(outcome: dict[str, Any]) -> dict[str, Any]:
    """What a test says, without the single episodes."""
    made = {name: outcome[name] for name in TESTED if name in outcome}
    metrics = outcome.get("metrics", {})
    return made | {name: metrics[name] for name in METRICS if name in metrics}


def add_references(manifest: dict[str, Any]) -> None:
    """Give each dataset the returns of its task's random and expert sets, of the largest size."""
    for entry in manifest["files"].values():
        entry["reference_returns"] = {
            kind: _reference(manifest, entry["task"], kind) for kind in REFERENCES
        }


def _reference(manifest: dict[str, Any], task: str, kind: str) -> dict[str, Any] | None:
    found = [
        (entry["size"], path, entry)
        for path, entry in manifest["files"].items()
        if (entry["task"], entry["kind"]) == (task, kind)
    ]
    if not found:
        return None
    _, path, entry = max(found, key=lambda item: item[0])
    return {
        "mean": entry["behavior_return"],
        "std": entry["behavior_return_std"],
        "episodes": entry["complete_episodes"] or entry["cut_episodes"],
        "file": path,
    }
