"""What fitted Q evaluation makes of the benchmark's policies, beside what they are worth.

For a task and a kind of dataset (`Suite.judged`), one dataset evaluates, by
`offline_algos.fitted_q`:

* ``plain``: the best checkpoint of every method and seed that was trained on it;
* of the first seed, what spreads the range: ``raw`` and ``variant`` cells of the same data, and
  ``other data``: policies that were trained on the task's other datasets of the size;
* ``online``: the policies that made the data, medium and expert, without noise.

All with one discount, whatever they were trained with. Beside each estimate stands what it claims
to be, the discounted return walked from random starts of the dataset's own period
(`benchmarks.discounted`), and the true score, the growth over the test period: undiscounted, at
other dates and with the position going on. A Decision Transformer acts by what it remembers, which
no transition shows: it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.discounted import discounted_value
from benchmarks.rank_evidence import chance_of, clustered_rank_correlation
from benchmarks.ranks import rank_correlation
from benchmarks.scores_cell import Work
from benchmarks.scores_engine import Say, is_answered, run_jobs
from benchmarks.scores_fqe_policies import SETTINGS, Judged, policies_of
from benchmarks.scores_log import logged
from benchmarks.scores_result import listed
from data_tools.files import replacing
from data_tools.flat_layout import read_provenance
from offline_algos import fqe as command
from offline_algos.checkpoint import load_policy
from offline_algos.fitted_q import Settings
from offline_algos.preparation import keep_memory, seed_everything

TRUTHS = ("discounted", "growth")
COMPARED = ("estimate", *TRUTHS)


# --- one policy -------------------------------------------------------------------------------


def evaluate(job: Judged) -> None:
    """Estimate, walk, and write the file.

    Raises:
        SystemExit: With 1 after a failure, which the log tells.
    """
    with logged(job.log, job.result):
        _evaluate(job)


def _evaluate(job: Judged) -> None:
    seed_everything(job.settings.seed)
    keep_memory()
    policy = load_policy(job.place / job.checkpoint)
    data = job.place / job.dataset
    made = command.estimate(policy, str(data), job.settings, quiet=True)
    provenance = read_provenance(data)
    assert provenance is not None
    walked = discounted_value(policy, provenance, job.settings.gamma)
    content = {"command": job.command(), "estimate": asdict(made), "discounted": asdict(walked)}
    with replacing(job.result) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


# --- estimates and truths ---------------------------------------------------------------------


def compare(members: Sequence[Judged]) -> dict[str, Any]:
    """Estimates of one dataset beside what they should be.

    Args:
        members: Evaluated policies.

    Returns:
        ``rows``: label, role and, a number for each seed, ``seeds``, ``estimate``, ``fit_error``,
        ``loss``, ``discounted`` and ``growth``; ``errors``: the largest standard error of an
        estimate over the data's first states, and of a walked value over its starts;
        ``starts``, ``walks``: how many these are, and ``steps`` of a walk; ``calibration``: mean,
        and the one farthest from 0, of estimate minus walked value; ``correlations``: see
        `correlations`. Values are discounted sums of rewards.
    """
    found = [json.loads(job.result.read_text()) for job in members]
    rows: dict[str, dict[str, Any]] = {}
    for job, made in zip(members, found, strict=True):
        row = rows.setdefault(
            job.label, {"label": job.label, "role": job.role, "cluster": job.cluster}
        )
        numbers = {
            "seeds": job.seed, "estimate": made["estimate"]["value"],
            "fit_error": made["estimate"]["fit_error"], "loss": made["estimate"]["loss"],
            "discounted": made["discounted"]["value"], "growth": job.growth,
        }  # fmt: skip
        for key, value in numbers.items():
            row.setdefault(key, []).append(value)
    apart = [made["estimate"]["value"] - made["discounted"]["value"] for made in found]
    return {
        "rows": list(rows.values()),
        "starts": found[0]["estimate"]["starts"],
        "walks": found[0]["discounted"]["starts"],
        "steps": found[0]["discounted"]["steps"],
        "errors": {
            part: max((made[part]["error"] or 0.0) for made in found)
            for part in ("estimate", "discounted")
        },
        "calibration": {"mean": float(np.mean(apart)), "largest": max(apart, key=abs)},
        "correlations": correlations(list(rows.values())),
    }


def correlations(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rank correlations of estimates and truths.

    Args:
        rows: Of `compare`.

    Returns:
        One for each set of points that has at least two: ``points`` ("methods": the mean over
        seeds of the plain rows; "methods and online": with the online policies; "policies": every
        one), ``count``, ``clusters``, and for "discounted" and "growth" an ``interval`` and a
        ``chance``, see `rank_evidence`. "ceiling" is the correlation of both truths: what an
        estimate without any error would have with growth. Seeds of one method are no independent
        policies: where each is a point, the interval draws methods, and no chance is stated.
    """
    plain = [row for row in rows if row["role"] == "plain"]
    wider = plain + [row for row in rows if row["role"] == "online"]
    made = []
    for name, chosen in (("methods", plain), ("methods and online", wider)):
        if len(chosen) > 1 and (name == "methods" or len(chosen) > len(plain)):
            means = {key: [float(np.mean(row[key])) for row in chosen] for key in COMPARED}
            made.append({"points": name} | _related(means, None))
    labels = [row["cluster"] for row in rows for _ in row["seeds"]]
    if len(labels) > 1:
        single = {key: [value for row in rows for value in row[key]] for key in COMPARED}
        made.append({"points": "policies"} | _related(single, labels))
    return made


def _related(values: dict[str, list[float]], clusters: list[str] | None) -> dict[str, Any]:
    count = len(values["estimate"])
    pairs = {truth: ("estimate", truth) for truth in TRUTHS} | {"ceiling": TRUTHS}
    made: dict[str, Any] = {
        "count": count,
        "clusters": count if clusters is None else len(set(clusters)),
    }
    for name, (first, second) in pairs.items():
        x, y = values[first], values[second]
        if clusters is None:
            chance = chance_of(x, y)
            made[name] = {
                "interval": listed(rank_correlation(x, y)),
                "chance": chance if np.isfinite(chance) else None,
            }
        else:
            found = clustered_rank_correlation(x, y, clusters)
            made[name] = {"interval": listed(found), "chance": None}
    return made


# --- all --------------------------------------------------------------------------------------


def fqe(
    works: Sequence[Work],
    controls: dict[str, dict[str, Any]],
    judged: Sequence[tuple[str, str]],
    *,
    settings: Settings = SETTINGS,
    engine: str = "local",
    jobs: int | None = None,
    say: Say = lambda *_: None,
) -> dict[str, Any]:
    """Evaluate what is not evaluated yet, and compare.

    Args:
        works: The cells.
        controls: Task to what `scores_references.references` returned.
        judged: Tasks and kinds of datasets.
        settings: How to fit.
        engine: See `scores_engine.run_jobs`.
        jobs: Policies at once.
        say: Told what comes of each.

    Returns:
        ``settings``; ``datasets``: a dataset's name to what `compare` returns, with ``left_out``
        (method to the reason why it is not for its policies) and ``missing``: names of policies
        that could not be evaluated; ``missing``: all of those.
    """
    groups = {
        (task, kind): policies_of(works, controls[task]["controls"], task, kind, settings)
        for task, kind in judged
        if task in controls
    }
    every = [job for members, _ in groups.values() for job in members]
    waiting = [job for job in every if not is_answered(job.result, job.command())]
    if waiting:
        run_jobs(evaluate, waiting, engine=engine, workers=jobs, say=say)
    done = {job for job in every if is_answered(job.result, job.command())}
    made = {
        members[0].dataset.removeprefix("datasets/").removesuffix(".hdf5"): compare(
            [job for job in members if job in done]
        )
        | {"left_out": left_out, "missing": [job.name for job in members if job not in done]}
        for members, left_out in groups.values()
        if done.intersection(members)
    }
    missing = [f"fqe/{job.name}" for job in every if job not in done]
    used = asdict(settings) | {"hidden_sizes": list(settings.hidden_sizes)}
    return {"settings": used, "datasets": made, "missing": missing}
