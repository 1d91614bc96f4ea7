"""What a foreign format has no place for, carried along in it: a group named ``gym_trade``.

It holds a JSON document, the columns that the format lacks, row by row (the flags too, since not
every format can say that an episode was both terminated and truncated, or is still running), and
arrays of the dataset's own source. From it `Trajectories` are restored to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import h5py
import numpy as np

from data_tools.flat_layout import DatasetError, read_rows
from data_tools.formats.scalars import leaves, plain, read_plain, read_text, write_text
from data_tools.formats.trajectories import Array, Block, Source, Trajectories, exactly

GROUP = "gym_trade"
FILE = "gym_trade.hdf5"  # beside the data of formats that are folders
VERSION = 1
FLAGS = ("terminated", "truncated")


class CarriedWriter:
    """Writes the group while the blocks pass.

    Args:
        parent: Where the group is made.
        given: What is converted.
        native: Columns beyond the usual ones that the format itself holds.
    """

    def __init__(self, parent: h5py.Group, given: Trajectories, native: Iterable[str] = ()) -> None:
        self._group, self._given = parent.create_group(GROUP), given
        self._row = 0
        self._finals = 0
        self._native = [*native]
        self._lacking = [*FLAGS, *(name for name in given.others if name not in self._native)]
        for name in self._lacking:
            shape, dtype = given.columns[name]
            self._group.create_dataset(
                f"rows/{name}", (given.rows, *shape), dtype, chunks=True, compression="gzip"
            )

    def add(self, block: Block) -> None:
        """Take the next rows."""
        stop = self._row + len(block["rew"])
        for name in self._lacking:
            self._group["rows"][name][self._row : stop] = block[name]
        self._row = stop

    def add_final(self, observation: Array) -> None:
        """Take the last observation of an episode, where the format has no place for it."""
        if "finals" not in self._group:
            shape, dtype = observation.shape, observation.dtype
            self._group.create_dataset("finals", (0, *shape), dtype, maxshape=(None, *shape))
        self._finals += 1
        self._group["finals"].resize(self._finals, axis=0)
        self._group["finals"][-1] = observation

    def finish(self) -> None:
        """Write the document and the source's arrays."""
        given = self._given
        document = {
            "version": VERSION,
            "rows": given.rows,
            "columns": [[n, s.str, list(shape)] for n, (shape, s) in given.columns.items()],
            "native": self._native,
            "stack_num": given.stack_num,
            "layout": given.layout,
            "task": given.task,
            "flat": given.flat,
            "source": None if given.source is None else given.source.document,
        }
        write_text(self._group, "json", document)
        if given.source is not None:
            for name, values in given.source.arrays.items():
                self._group.create_dataset(f"source/{name}", data=values)


class Carried:
    """The group, read.

    Attributes:
        document: The JSON document.
        finals: The last observations of some episodes, or None.
        native: The columns beyond the usual ones that the format itself holds.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self.document = read_text(group, "json")
        if self.document.get("version") != VERSION:
            raise DatasetError(
                f"{group.file.filename}: its {GROUP} part has version "
                f"{self.document.get('version')!r}. Expected {VERSION}; a newer version of this "
                "package wrote it."
            )
        self.finals = plain(group, "finals") if "finals" in group else None
        self.native = [str(name) for name in self.document.get("native", ())]

    def restore(
        self,
        name: str,
        rows: int,
        read: Callable[[], Iterator[Block]],
    ) -> Trajectories | None:
        """The dataset as it was, or None where it was changed since, so that this does not fit.

        Args:
            name: The format.
            rows: How many the format holds.
            read: Yields ``obs``, ``act``, ``rew``, ``obs_next`` and native columns, of any dtype
                that holds the same numbers and any shape that flattens to the same.
        """
        where, document = self._group.file.filename, self.document
        if rows != document.get("rows"):
            return None
        try:
            columns = {
                str(column): (tuple(int(n) for n in shape), np.dtype(str(dtype)))
                for column, dtype, shape in document["columns"]
            }
            layout, task, stack_num = (document[k] for k in ("layout", "task", "stack_num"))
            flat, source = document["flat"], document["source"]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{where}: its {GROUP} part is damaged: {error}.") from None
        carried = leaves(self._group["rows"])
        for column, item in carried.items():
            if column not in columns or item.shape != (rows, *columns[column][0]):
                raise DatasetError(f"{where}: {item.name} of shape {item.shape} does not fit.")

        def blocks() -> Iterator[Block]:
            row = 0
            for block in read():
                stop = row + len(block["rew"])
                block = block | {
                    column: read_rows(item, row, stop) for column, item in carried.items()
                }
                block["done"] = block["terminated"] | block["truncated"]
                missing = [column for column in columns if column not in block]
                if missing:
                    raise DatasetError(f"{where} lacks {', '.join(missing)}, which it once had.")
                yield {
                    column: _as_before(where, column, block[column], stop - row, *columns[column])
                    for column in columns
                }
                row = stop

        return Trajectories(
            format=name, rows=rows, columns=columns, read=blocks, layout=layout, task=task,
            stack_num=int(stack_num), flat=flat, source=self._source(source),
            facts={"format": name, "restored": True},
        )  # fmt: skip

    def _source(self, document: Any) -> Source | None:
        if document is None:
            return None
        arrays = leaves(self._group["source"]) if "source" in self._group else {}
        return Source(document, {name: read_plain(item) for name, item in arrays.items()})


def _as_before(
    where: str, column: str, values: Array, rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    if values.size != rows * int(np.prod(shape, dtype=np.int64)):
        raise DatasetError(
            f"{where}: {column} is {values.dtype} {values.shape[1:]}, but its {GROUP} part says "
            f"{dtype} {shape}. Delete that part, if the dataset was changed."
        )
    return exactly(values, dtype, f"{where}: {column}").reshape(rows, *shape)
