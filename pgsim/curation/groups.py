"""Groups of things that are alike, from pairs of them. Free of any database."""

from __future__ import annotations

from collections.abc import Iterator


class Groups:
    """Joins pairs to groups: what is like something in a group is in it."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._scores: dict[str, float] = {}

    def join(self, one: str, other: str, score: float) -> None:
        """Put two into one group, with the score of the two."""
        for name in (one, other):
            self._scores[name] = max(score, self._scores.get(name, 0.0))
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def score(self, name: str) -> float:
        """Tell the greatest score that something has with another of its group."""
        return self._scores[name]

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the groups, the largest first, each in order."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._parents):
            found.setdefault(self._root(name), []).append(name)
        yield from sorted(found.values(), key=lambda group: (-len(group), group))

    def _root(self, name: str) -> str:
        root = name
        while (above := self._parents.setdefault(root, root)) != root:
            root = above
        # The next look is shorter.
        while name != root:
            self._parents[name], name = root, self._parents[name]
        return root
