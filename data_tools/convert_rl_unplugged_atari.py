"""Download one shard of RL Unplugged's Atari data and convert it into a Tianshou buffer.

Example: --task Breakout --run-id 1 --shard-id 1 --dataset-dir datasets --buffer-dir buffers

makes datasets/Breakout/run_1-00001-of-00100 and buffers/Breakout/run_1-00001-of-00100.hdf5, the
names that Tianshou's example of the same name uses. A shard that was loaded before is not loaded
again; one that was interrupted is.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data_tools.command_line import ArgumentParser, run, terminate_cleanly
from data_tools.convert import Conversion, convert
from data_tools.files import replacing
from data_tools.flat_layout import DatasetError

BASE = "http://storage.googleapis.com/rl_unplugged/atari"
FOLDERS = (
    ("RLU_DATASET_DIR", "~/.rl_unplugged/datasets"),
    ("RLU_BUFFER_DIR", "~/.rl_unplugged/buffers"),
)
SHARDS = 100
TIMEOUT_S = 60
PART_BYTES = 2**20


def shard_name(run_id: int, shard_id: int, shards: int = SHARDS) -> str:
    """A shard's file name."""
    return f"run_{run_id}-{shard_id:05d}-of-{shards:05d}"


def download(address: str, path: Path, *, progress: bool = True) -> None:
    """Load a file, which appears whole or not at all.

    Raises:
        DatasetError: The server does not have it or cannot be reached, or the connection broke.
    """
    request = urllib.request.Request(address, headers={"User-Agent": "gym-trade"})
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                size = answer.headers.get("Content-Length")
                total = int(size) if size and size.isdigit() else None
                with tqdm(
                    total=total, desc=path.name, unit="B", unit_scale=True, disable=not progress
                ) as bar:
                    while part := answer.read(PART_BYTES):
                        bar.update(file.write(part))
                if total is not None and file.tell() != total:
                    raise DatasetError(
                        f"{address}: the connection broke after {file.tell()} of {total} bytes. "
                        "Run again."
                    )
    except urllib.error.HTTPError as error:
        raise DatasetError(
            f"{address}: the server answers {error.code} {error.reason}. Check --task, --run-id, "
            "--shard-id and --base-url."
        ) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DatasetError(f"{address} cannot be loaded: {reason}. Run again.") from None


def fetch_and_convert(
    task: str,
    *,
    run_id: int = 1,
    shard_id: int = 0,
    shards: int = SHARDS,
    dataset_dir: str | os.PathLike[str],
    buffer_dir: str | os.PathLike[str],
    base_url: str = BASE,
    overwrite: bool = False,
    progress: bool = True,
) -> Conversion:
    """Load a shard, if it is not there, and convert it.

    Args:
        task: The game, such as "Breakout".
        run_id: Training run, 1 to 5.
        shard_id: 0 to `shards` - 1.
        shards: How many shards a run has.
        dataset_dir: Where the shards are.
        buffer_dir: Where the buffers go.
        base_url: Where the games' folders are.
        overwrite: Replace an existing buffer.
        progress: Show progress bars on stderr.

    Raises:
        DatasetError: An argument is out of range, the buffer exists, or as `download` and
            `convert.convert`.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", task):
        raise DatasetError(f"--task {task}: expected the name of a game, such as Breakout.")
    if not 1 <= run_id <= 5 or not 0 <= shard_id < shards:
        raise DatasetError(
            f"--run-id {run_id} --shard-id {shard_id}: expected 1 to 5 and 0 to {shards - 1}."
        )
    name = shard_name(run_id, shard_id, shards)
    shard = Path(dataset_dir).expanduser() / task / name
    buffer = Path(buffer_dir).expanduser() / task / f"{name}.hdf5"
    if buffer.exists() and not overwrite:
        raise DatasetError(f"{buffer} exists. Pass --overwrite to replace it.")
    for folder in (shard.parent, buffer.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if shard.exists():
        print(f"{shard} is here already")
    else:
        download(f"{base_url.rstrip('/')}/{task}/{name}", shard, progress=progress)
    return convert(
        shard, buffer, source_format="rlu", overwrite=overwrite, progress=progress, echo=print
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m data_tools.convert_rl_unplugged_atari", description=__doc__
    )
    (dataset, buffer) = (os.environ.get(name) or path for name, path in FOLDERS)
    # fmt: off
    add = parser.add_argument
    add("--task", required=True, help="the game, such as Breakout")
    add("--run-id", type=int, default=1, help="training run, 1 to 5 (default: %(default)s)")
    add("--shard-id", type=int, default=0, help="shard, from 0 (default: %(default)s)")
    add("--total-num-shards", dest="shards", type=int, default=SHARDS,
        help="shards of a run (default: %(default)s)")
    add("--dataset-dir", default=dataset, metavar="FOLDER",
        help="where shards are kept (default: %(default)s)")
    add("--buffer-dir", default=buffer, metavar="FOLDER",
        help="where buffers are written (default: %(default)s)")
    add("--base-url", default=BASE, metavar="URL",
        help="where the games' folders are (default: %(default)s)")
    add("--overwrite", action="store_true", help="replace an existing buffer")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """

    def command() -> None:
        made = fetch_and_convert(**vars(_parser().parse_args(argv)))
        print(f"{made.transitions} transitions\n{made.path}")

    return run(command, interrupted="interrupted: no buffer was written.")


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
