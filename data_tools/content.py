"""What tells a dataset's content: a hash of all files that it consists of."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import h5py

from data_tools.column_rows import DatasetError
from data_tools.files import sha256, sha256_of_each
from data_tools.flat_layout import open_file, parse_provenance, refuse_unreadable
from data_tools.indexed_file import joins_shards
from data_tools.shard_files import Shard, list_shards


def content_hash(path: str | os.PathLike[str]) -> str:
    """A dataset's content as one SHA-256, in hex; its files are read once.

    That of a single file is the file's. A file that joins shards lists the SHA-256 of each: its own
    stands for all of them once each is found to be what is listed.

    Raises:
        DatasetError: There is no such file, or a shard is missing or has changed since it was
            joined.
    """
    file = Path(path)
    try:
        digest, shards = sha256(file), _shards(file)
        found = sha256_of_each([shard.path for shard in shards])
    except OSError as error:
        raise DatasetError(f"{error.filename or file}: {error.strerror or error}.") from None
    for shard, content in zip(shards, found, strict=True):
        shard.check_content(file, content)
    if all(shard.sha256 is not None for shard in shards):
        return digest
    return hashlib.sha256("\n".join([digest, *found]).encode()).hexdigest()


def check_shards(path: str | os.PathLike[str]) -> None:
    """Refuse a dataset whose shards are not the files that were joined; others are not read.

    Raises:
        DatasetError: A shard is missing or has changed since it was joined.
    """
    file = Path(path)
    try:
        shards = _shards(file)
        found = sha256_of_each([shard.path for shard in shards])
    except OSError as error:
        raise DatasetError(f"{error.filename or file}: {error.strerror or error}.") from None
    for shard, content in zip(shards, found, strict=True):
        shard.check_content(file, content)


def _shards(file: Path) -> list[Shard]:
    """The other files that hold a dataset's transitions; none of most."""
    refuse_unreadable(file)
    if not h5py.is_hdf5(file):
        return []
    with open_file(file) as root:
        if joins_shards(root):
            return list_shards(file, parse_provenance(file, root))
        names = _virtual_sources(root)
        if not names:
            return []
        provenance = parse_provenance(file, root)
    listed = list_shards(file, provenance) if "shards" in (provenance or {}) else []
    known = {shard.path: shard for shard in listed}
    paths = [file.parent / name for name in names]
    return [known.get(path, Shard(path, 0, None, {})) for path in paths]


def _virtual_sources(root: h5py.File) -> list[str]:
    """The files that an open one of the flat layout reads its columns from."""
    names: dict[str, None] = {}

    def visit(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            names.update(dict.fromkeys(source.file_name for source in item.virtual_sources()))

    root.visititems(visit)
    return list(names)
