"""A side of a training comparison: its data, its clock, and how it is told what to measure.

It needs NumPy and torch alone, so that a peer's interpreter can import it from beside its script.
"""

import json
import sys
import time

import numpy as np
import torch

ACTIONS, ROWS, EPISODE = 5, 100_000, 1000
WARM_STEPS = 5
BLOCK = 5  # steps between two looks at the clock


def draw(columns, *, continuous, rows=ROWS, seed=0):
    """Random transitions as arrays by name, an episode every 1000 rows; none is truncated."""
    rng = np.random.default_rng(seed)
    act = rng.integers(0, ACTIONS, rows)
    if continuous:
        act = rng.uniform(-1, 1, (rows, 1)).astype(np.float32)
    return {
        "act": act,
        "obs": rng.normal(size=(rows, columns)).astype(np.float32),
        "obs_next": rng.normal(size=(rows, columns)).astype(np.float32),
        "rew": rng.normal(size=rows),
        "terminated": np.arange(rows) % EPISODE == EPISODE - 1,
    }


def rate(step, seconds):
    """Calls a second, over at least `seconds`."""
    for _ in range(WARM_STEPS):
        step()
    steps, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        for _ in range(BLOCK):
            step()
        steps += BLOCK
    return steps / elapsed


def serve(versions, make_step):
    """Answer requests of one JSON value a line, until null or the end of standard input.

    First come the `versions`, package to version. An object {"method", "columns", "hidden",
    "batch", "rows"} has `make_step` called with its members and is answered with true; a number of
    seconds then with gradient steps a second. What a library prints goes to standard error.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(1)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    answer(versions)
    step = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked is None:
            break
        if isinstance(asked, dict):
            step = None  # its data goes before the next one's comes
            step = make_step(**asked)
            answer(True)
        else:
            answer(rate(step, asked))
