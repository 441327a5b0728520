"""Accounts for every value of an old config: mapped, dropped for a reason, or not mapped."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAPPED, DROPPED, UNMAPPED = 'mapped', 'dropped', 'not mapped'
REMOVED = object()  # stands in a list for an entry that was dropped, so that the others keep their places
Place = tuple[str | int, ...]
UNREAD = 'not read: '
_ARROW = {MAPPED: ' -> ', DROPPED: ': ', UNMAPPED: ': '}


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
    those that no entry covers. ``opened`` holds the places of the dicts that were looked into, ``unread`` those that
    nobody could read further, with the reason.
    """

    entries: dict[Place, Entry] = field(default_factory=dict)
    opened: set[Place] = field(default_factory=set)
    unread: dict[Place, str] = field(default_factory=dict)

    def add(self, place: Place, kind: str, note: str) -> None:
        """Records what became of the value at a place; a second entry counts only if it says ``'not mapped'``."""
        if place not in self.entries or kind == UNMAPPED != self.entries[place].kind:
            self.entries[place] = Entry(place, kind, note)

    def refuse_objects(self, old: dict) -> None:
        """Reports values that a written config cannot hold, such as a function."""
        for place in leaves(old):
            value = old
            for key in place:
                value = value[key]
            strange = [entry for entry in (value if isinstance(value, (list, tuple)) else [value])
                       if not isinstance(entry, (str, int, float, list, tuple, dict, type(None)))]
            if strange and strange[0] is not REMOVED:
                self.add(place, UNMAPPED, f'{strange[0]!r} is neither text nor number: a config cannot hold it')

    def of_kind(self, kind: str) -> list[Entry]:
        """Returns the entries of one kind in the order in which they were made."""
        return [entry for entry in self.entries.values() if entry.kind == kind]

    def account_for_rest(self, old: dict) -> None:
        """Reports what has no entry yet, by the topmost key into which nobody has looked."""
        reached = {place[:length] for place in (*self.entries, *self.opened) for length in range(len(place) + 1)}
        for place in leaves(old):
            starts = [place[:length] for length in range(1, len(place) + 1)]
            if not any(start in self.entries for start in starts):
                reasons = [self.unread[start] for start in ((), *starts) if start in self.unread]
                note = UNREAD + reasons[0] if reasons else 'unknown key'
                self.add(next((start for start in starts if start not in reached), place), UNMAPPED, note)


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yields the places of all values that are no filled dict, list or tuple of dicts."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*place, index))
    elif value is not REMOVED:
        yield place


def written(place: Place) -> str:
    """Writes a place as a path."""
    return ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in place).lstrip('.')


class OldPart:
    """One dict of the old config.

    Args:
        values: The dict; anything else is reported and read as an empty one.
        place: Where it stands.
        ledger: Takes down what becomes of its values.
    """

    def __init__(self, values: Any, place: Place, ledger: Ledger) -> None:
        self.place, self.ledger = place, ledger
        ledger.opened.add(place)
        self.values: dict = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            ledger.add(place, UNMAPPED, f'must be a dict, is {values!r}')
        elif not values and place:
            ledger.add(place, DROPPED, 'empty')

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def look(self, key: str, default: Any = None) -> Any:
        """Returns a value, which stays to be accounted for."""
        return self.values.get(key, default)

    def take(self, key: str, new: str, default: Any = None) -> Any:
        """Returns a value, recorded as mapped to the path ``new``; the default if it is not there."""
        if key in self.values:
            self.ledger.add((*self.place, key), MAPPED, new)
        return self.values.get(key, default)

    def need(self, key: str, new: str, stand_in: Any = None) -> Any:
        """As :meth:`take`, for a value without which the old program stops; ``stand_in`` lets the migration go on."""
        if key not in self.values:
            self.refuse(key, 'missing: the old program needs it')
        return self.take(key, new, stand_in)

    @property
    def kind(self) -> str:
        """The ``type`` of a part; an empty text if it has none."""
        kind = self.values.get('type')
        return kind if isinstance(kind, str) else ''

    def text(self, key: str, new: str) -> str:
        """As :meth:`need`, for a text."""
        if key in self.values and not isinstance(self.values[key], str):
            self.refuse(key, f'must be a text, is {self.values[key]!r}')
            return ''
        return self.need(key, new, '')

    def numbers(self, key: str, new: str, count: int | None = None) -> tuple[float, ...]:
        """As :meth:`need`, for a list of numbers, of which there may be only ``count``."""
        value = self.need(key, new, ())
        fits = isinstance(value, (list, tuple)) and all(is_number(entry) for entry in value)
        if fits and (count is None or len(value) == count):
            return tuple(value)
        self.refuse(key, f'must be a list of {count or ""} numbers, is {value!r}'.replace('  ', ' '))
        return (0, ) * (count or 0)

    def number(self, key: str, new: str, stand_in: float = 0) -> float:
        """As :meth:`need`, for a number."""
        if key in self.values and not is_number(self.values[key]):
            self.refuse(key, f'must be a number, is {self.values[key]!r}')
            return stand_in
        return self.need(key, new, stand_in)

    def drop(self, key: str, reason: str) -> None:
        """Records a value that the new config does not need, if it is there."""
        if key in self.values:
            self.ledger.add((*self.place, key), DROPPED, reason)

    def take_only(self, key: str, allowed: object, new: str, otherwise: str) -> None:
        """Records a value as mapped if it is ``allowed``, and refuses any other, also none."""
        if self.values.get(key) == allowed:
            self.take(key, new)
        else:
            self.refuse(key, f'{self.values.get(key)!r}: {otherwise}')

    def drop_if(self, key: str, allowed: tuple, reason: str, otherwise: str) -> None:
        """Drops a value that is one of ``allowed``, and refuses any other."""
        if key in self.values and self.values[key] in allowed:
            self.drop(key, reason)
        elif key in self.values:
            self.refuse(key, f'{self.values[key]!r}: {otherwise}')

    def drop_all(self, reason: str) -> None:
        """Records the whole dict as not needed."""
        self.ledger.add(self.place, DROPPED, reason)

    def drop_each(self, keys: tuple[str, ...], reason: str) -> None:
        """Records values that the new config does not need, those of them that are there."""
        for key in keys:
            self.drop(key, reason)

    def refuse(self, key: str, reason: str) -> None:
        """Records a value that this package cannot express."""
        self.ledger.add((*self.place, key), UNMAPPED, reason)

    def refuse_type(self, reason: str, key: str = 'type') -> None:
        """Refuses the ``type`` of a part, whose other values mean nothing without it."""
        self.refuse(key, reason)
        self.ledger.unread[self.place] = f'{written((*self.place, key))} is refused'

    def part(self, key: str) -> 'OldPart':
        """Returns the dict at a key."""
        return OldPart(self.values[key], (*self.place, key), self.ledger)

    def parts(self, key: str) -> list['OldPart']:
        """Returns the dicts of the list at a key."""
        value = self.values[key]
        if not isinstance(value, (list, tuple)):
            self.refuse(key, f'must be a list of dicts, is {value!r}')
            return []
        return [OldPart(inner, (*self.place, key, index), self.ledger) for index, inner in enumerate(value)
                if inner is not REMOVED]


def is_number(value: Any) -> bool:
    """Tells numbers from everything else, truth values included."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def written_report(ledger: Ledger) -> str:
    """Writes an entry a line, what is not mapped last."""
    lines = []
    for kind in (MAPPED, DROPPED, UNMAPPED):
        entries = ledger.of_kind(kind)
        lines.append(f'{kind} ({len(entries)})')
        lines += [f'  {entry.path}{_ARROW[kind]}{entry.note}' for entry in entries]
    return '\n'.join(lines)
