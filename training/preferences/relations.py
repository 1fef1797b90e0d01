"""Which pairs belong together: near duplicates by their prompts, and translated twins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.preferences.duplicates import NearDuplicates
from training.preferences.pair import Pair, language_of
from training.preferences.twins import Twins


@dataclass(frozen=True)
class Relations:
    """`near`, `groups`: (n,) int64, for each pair the least index of its group (itself if alone); `groups` joins twins too."""

    near: np.ndarray
    twins: list[tuple[int, int, float]]  # English pair, Chinese pair, score: possible twins, to be read
    groups: np.ndarray
    searched: int  # pairs among which twins were looked for: all, or as many as twins.py looks at

    def only(self, kept: Sequence[int]) -> "Relations":
        """Of these pairs alone, under their new numbers."""
        place = np.full(len(self.near), -1)
        place[kept] = np.arange(len(kept))
        moved = [(int(place[i]), int(place[j]), score) for i, j, score in self.twins]
        twins = [twin for twin in moved if min(twin[:2]) >= 0]
        return Relations(
            renumbered(self.near[kept]), twins, renumbered(self.groups[kept]), min(self.searched, len(kept))
        )


def renumbered(groups: np.ndarray) -> np.ndarray:
    """The same groups, each named by the least place that it has here."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


def prompt_text(pair: Pair) -> str:
    """All turns of a prompt but the system turn."""
    return "\n".join(message["content"] for message in pair.prompt if message["role"] != "system")


def relate(pairs: Sequence[Pair]) -> Relations:
    """Look for near duplicates and twins among all pairs; each is read a few times, none is kept."""

    def text_of(index: int) -> str:
        return prompt_text(pairs[index])

    with NearDuplicates() as search:
        twins = Twins()
        for pair in pairs:
            text = prompt_text(pair)
            search.add(text)
            twins.add(text, language_of(pair))
        near = search.groups(text_of)
    found = twins.find(text_of)
    return Relations(near, found, joined(near, [(i, j) for i, j, _ in found]), twins.searched)


def joined(groups: np.ndarray, links: Sequence[tuple[int, int]]) -> np.ndarray:
    """The groups after those of both ends of each link are made one."""
    parent = groups.copy()

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = int(parent[index])
        return index

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(index) for index in range(len(parent))], np.int64)
