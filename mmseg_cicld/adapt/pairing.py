"""Finds out by which endings the names of images and labels belong together."""
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_MARKS = '_-. '  # an ending of a name begins with one of these
_CANDIDATES = 20


@dataclass(frozen=True)
class Suffixes:
    """How names end: the label of ``STEM + image`` is ``STEM + label``.

    Args:
        image: Ending of image names; None for any suffix of an image file.
        label: Ending of label names.
    """

    image: str | None = None
    label: str = '.png'


def find_suffixes(images: Sequence[str], labels: Sequence[str], some: bool = False) -> list[Suffixes]:
    """Finds endings with which every image has a label.

    Tried are: the same name; an ending more of the labels (``1.jpg``, ``1_label.png``); an ending of its own for
    each (``1_leftImg8bit.png``, ``1_gtFine_labelTrainIds.png``). Sub-folders have to be the same.

    Args:
        images: Paths of the images, relative to their folder.
        labels: Paths of the labels, relative to theirs.
        some: Whether it is enough that a label has an image.

    Returns:
        The endings; several if the names do not tell which of them is meant, none if there are none.
    """
    for image, label_endings in _candidates(images, labels):
        fitting = {ending: count_pairs(images, labels, Suffixes(image, ending)) for ending in label_endings}
        enough = max([*fitting.values(), 1]) if some else len(images)
        found = [Suffixes(image, ending) for ending, number in fitting.items() if number == enough]
        if found:
            return found
    return []


def _candidates(images: Sequence[str], labels: Sequence[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Gives endings of images with those of labels, the likeliest first."""
    plain = {_without(name, _suffix(name)) for name in images}
    yield None, [ending for ending, _ in Counter(map(_suffix, labels)).most_common()]
    yield None, _endings(labels, plain)
    for ending in _common_endings(images):
        yield ending, _endings(labels, {_without(name, ending) for name in images})


def count_pairs(images: Sequence[str], labels: Sequence[str], suffixes: Suffixes) -> int:
    """Counts the images that have a label."""
    endings = [_suffix(name) if suffixes.image is None else suffixes.image for name in images]
    return len({_without(name, ending) + suffixes.label for name, ending in zip(images, endings)} & set(labels))


def _endings(labels: Sequence[str], stems: set[str]) -> list[str]:
    """Lists what the names of labels have behind the longest stem of an image, most frequent first."""
    found: Counter[str] = Counter()
    for name in labels:
        places = [place for place, letter in enumerate(name) if letter in _MARKS]
        found.update(name[place:] for place in places if name[:place] in stems)
    return [ending for ending, _ in found.most_common(_CANDIDATES)]


def _common_endings(names: Sequence[str]) -> list[str]:
    """Lists endings that all names have, the longest first, such as ``_leftImg8bit.png`` and ``.png``."""
    first, last = (name[::-1] for name in (min(names, key=_reversed), max(names, key=_reversed)))
    differs = next((place for place, (one, other) in enumerate(zip(first, last)) if one != other or one == '/'),
                   min(len(first), len(last)))
    common = first[:differs][::-1]
    return [common[place:] for place, letter in enumerate(common) if letter in _MARKS]


def _reversed(name: str) -> str:
    return name[::-1]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix


def _without(name: str, ending: str) -> str:
    return name[:len(name) - len(ending)]
