"""The shards that a dataset is joined of, as its provenance lists them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.column_rows import DatasetError

_REMEDY = "Put the old file back, or make the dataset anew."


@dataclass(frozen=True)
class Shard:
    """One of a dataset's files.

    Attributes:
        path: The file.
        rows: Transitions in it.
        sha256: Of its content when it was joined, in hex; None where that is not known.
        identity: What its own provenance says about its place among the others.
    """

    path: Path
    rows: int
    sha256: str | None
    identity: dict[str, Any]

    def check(self, file: Path, provenance: dict[str, Any] | None, rows: int) -> None:
        """Refuse another file in the place of this one.

        Args:
            file: The dataset, for the message.
            provenance: What the file at `path` says about itself.
            rows: Transitions in it.

        Raises:
            DatasetError: It is another one.
        """
        if (provenance or {}).get("shard") != self.identity or rows != self.rows:
            raise DatasetError(
                f"{file} is joined of other files, and {self.path} is not shard "
                f"{self.identity['number']} of {self.identity['of']}, of {self.rows} transitions, "
                f"which was joined. {_REMEDY}"
            )

    def check_content(self, file: Path, digest: str) -> None:
        """Refuse a file whose content has changed.

        Args:
            file: The dataset, for the message.
            digest: SHA-256 of what is there now, in hex.

        Raises:
            DatasetError: It has.
        """
        if self.sha256 not in (None, digest):
            raise DatasetError(
                f"{file} is joined of other files, and {self.path} has changed since: its SHA-256 "
                f"is {digest[:16]}..., that of what was joined {str(self.sha256)[:16]}.... "
                f"{_REMEDY}"
            )


def list_shards(file: Path, provenance: dict[str, Any] | None) -> list[Shard]:
    """The shards that a dataset's provenance lists, in the order of their rows.

    A file from elsewhere could name any other file of this machine: each must lie in the folder of
    `file` or below it.

    Raises:
        DatasetError: None are listed, or one is not in the folder or missing.
    """
    facts = (provenance or {}).get("shards")
    if facts is None or not _is_list_of_shards(facts):
        raise DatasetError(
            f"{file} holds no transitions, and its provenance lists no shards that hold them. Make "
            "the dataset anew."
        )
    here = Path(os.path.realpath(file.parent))
    found = []
    for number, listed in enumerate(facts["files"]):
        name = f"{facts['folder']}/{listed['file']}"
        path = file.parent / name
        real = Path(os.path.realpath(path))
        fault = None
        if not real.is_relative_to(here):
            fault = "is not in its folder"
        elif not real.is_file():
            fault = "is missing: keep the shards where they were beside it"
        if fault is not None:
            raise DatasetError(f"{file} is joined of other files, and {name} {fault}.")
        identity = {"number": number, "of": len(facts["files"]), "plan": facts["plan"]}
        found.append(Shard(path, listed["rows"], listed.get("sha256"), identity))
    return found


def _is_list_of_shards(facts: Any) -> bool:
    if not isinstance(facts, dict) or not isinstance(facts.get("files"), list):
        return False
    texts = [facts.get("folder"), facts.get("plan")]
    for listed in facts["files"]:
        if not isinstance(listed, dict) or type(listed.get("rows")) is not int:
            return False
        texts += [listed.get("file"), listed.get("sha256", "")]
    return bool(facts["files"]) and all(isinstance(text, str) for text in texts)
