"""Print the peak memory of a process that only collects, as JSON; run in a fresh one.

``python -m benchmarks.data_memory ROWS LANES SEED LAYOUT FILE`` imports what ``python -m
data_tools.collect`` does, and neither torch nor Tianshou.
"""

import json
import sys

from benchmarks.construction import peak_bytes
from data_tools.collect import collect


def main() -> None:
    """Collect with random actions on the embedded market, print."""
    rows, lanes, seed, layout, path = sys.argv[1:]
    more = {} if layout == "full" else {"layout": layout}
    collect(path, buffer_size=int(rows), num_envs=int(lanes), seed=int(seed), progress=False,
            echo=None, **more)  # type: ignore[arg-type] # fmt: skip
    json.dump({"peak_bytes": peak_bytes()}, sys.stdout)


if __name__ == "__main__":
    main()
