"""Accounts for every value of an old config: mapped, dropped for a reason, or not mapped."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAPPED, DROPPED, UNMAPPED = 'mapped', 'dropped', 'not mapped'
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Entry:
    """What became of one value, or of all values below it.

    Args:
        place: Keys and indices from the root of the old config to the value.
        kind: ``'mapped'``, ``'dropped'`` or ``'not mapped'``.
        note: Where it stands in the new config, or the reason.
    """

    place: Place
    kind: str
    note: str

    @property
    def path(self) -> str:
        """The place as it is written in messages: ``data.train.source.pipeline[2].img_scale``."""
        return written(self.place)


@dataclass
class Ledger:
    """The entries of one migration.

    Nothing can be lost: :meth:`account_for_rest` goes through all values of the old config and reports as not mapped
    those that no entry covers. ``opened`` holds the places of the dicts that were looked into.
    """

    entries: dict[Place, Entry] = field(default_factory=dict)
    opened: set[Place] = field(default_factory=set)

    def add(self, place: Place, kind: str, note: str) -> None:
        """Records what became of the value at a place; a second entry counts only if it says ``'not mapped'``."""
        if place not in self.entries or kind == UNMAPPED != self.entries[place].kind:
            self.entries[place] = Entry(place, kind, note)

    def of_kind(self, kind: str) -> list[Entry]:
        """Returns the entries of one kind in the order in which they were made."""
        return [entry for entry in self.entries.values() if entry.kind == kind]

    def account_for_rest(self, old: dict) -> None:
        """Reports what has no entry yet, by the topmost key into which nobody has looked."""
        reached = {place[:length] for place in (*self.entries, *self.opened) for length in range(len(place) + 1)}
        for place in leaves(old):
            starts = [place[:length] for length in range(1, len(place) + 1)]
            if not any(start in self.entries for start in starts):
                self.add(next((start for start in starts if start not in reached), place), UNMAPPED, 'unknown key')


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yields the places of all values that are no filled dict, list or tuple of dicts."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*place, index))
    else:
        yield place


def written(place: Place) -> str:
    """Writes a place as a path."""
    return ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in place).lstrip('.')
