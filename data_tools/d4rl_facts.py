"""What a D4RL file turned out to hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from data_tools.provenance_schema import FORMAT_VERSION

if TYPE_CHECKING:
    from tianshou.data import ReplayBuffer


@dataclass(frozen=True)
class D4RLFacts:
    """What was read, and what had to be inferred.

    Attributes:
        rows: Rows in the file.
        transitions: Rows kept.
        dropped: Rows left out, since what they led to is not in the file.
        complete_episodes: Episodes that were terminated or that ran into their time limit.
        cut_episodes: 1 where the file ends in the middle of an episode, else 0.
        behavior_return: Mean sum of rewards over complete episodes, dropped rows included; over
            the cut one where there is no other.
        behavior_return_std: Their standard deviation, ddof 0.
        timeouts: Where time limits were found: "column", "observations" (the next one does not
            continue), "time limit" (counted) or "observations and column" (ends that the column
            does not show).
        next_observations: Whether the file has them.
    """

    rows: int
    transitions: int
    dropped: int
    complete_episodes: int
    cut_episodes: int
    behavior_return: float
    behavior_return_std: float
    timeouts: str
    next_observations: bool

    def provenance(self, name: str, task: str, buffer: ReplayBuffer) -> dict[str, Any]:
        """What a file of this package would say about the data: JSON-able.

        Args:
            name: D4RL's name of the dataset.
            task: The Gymnasium task that it is judged in.
            buffer: The transitions.
        """
        width = buffer.obs.shape[1]
        return {
            "format_version": FORMAT_VERSION,
            "task": task,
            "policy": {"name": f"d4rl {name}"},
            "buffer_size": self.transitions,
            "layout": [{"key": "observation", "start": 0, "stop": width, "shape": [width]}],
            "action": {"type": "continuous", "levels": None},
            "reference": {
                "behavior_return": self.behavior_return,
                "behavior_return_std": self.behavior_return_std,
                "complete_episodes": self.complete_episodes,
                "cut_episodes": self.cut_episodes,
            },
            "source": {"format": "d4rl", "name": name} | asdict(self),
        }

    def describe(self) -> str:
        """A line about them."""
        how = {
            "column": "",
            "observations": "; no timeouts in the file: an episode ends where the next observation "
            "does not continue",
            "time limit": "; no timeouts in the file: episodes end after their time limit",
            "observations and column": "; some episodes end, unmarked, where the next observation "
            "does not continue",
        }[self.timeouts]
        lost = f"; {self.dropped} rows left out, whose next observation is lost"
        cut = ", and a cut one" if self.cut_episodes else ""
        return (
            f"D4RL file: {self.transitions} transitions, {self.complete_episodes} episodes{cut}"
            f"{how}{lost if self.dropped else ''}"
        )
