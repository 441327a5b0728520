"""Finds out by which endings the names of images and labels belong together."""
import os
from collections import Counter
from collections.abc import Sequence
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


def find_suffixes(images: Sequence[str], labels: Sequence[str], some: bool = False) -> Suffixes | None:
    """Finds endings with which every image has a label.

    Tried are: the same name; an ending more of the labels (``1.jpg``, ``1_label.png``); an ending of its own for
    each (``1_leftImg8bit.png``, ``1_gtFine_labelTrainIds.png``). Sub-folders have to be the same.

    Args:
        images: Paths of the images, relative to their folder.
        labels: Paths of the labels, relative to theirs.
        some: Whether it is enough that a label has an image.

    Returns:
        The endings, None if there are none.
    """
    present, kinds = set(labels), [ending for ending, _ in Counter(map(_suffix, labels)).most_common()]
    plain = {_without(name, _suffix(name)) for name in images}
    for ending in [*kinds, *_endings(labels, plain)]:
        if _fits(plain, {_without(name, ending) for name in present if name.endswith(ending)}, some):
            return Suffixes(None, ending)
    for image_ending in _common_endings(images):
        stems = {_without(name, image_ending) for name in images if name.endswith(image_ending)}
        for ending in _endings(labels, stems):
            if _fits(stems, {_without(name, ending) for name in present if name.endswith(ending)}, some):
                return Suffixes(image_ending, ending)
    return None


def _fits(images: set[str], labels: set[str], some: bool) -> bool:
    return bool(images & labels) if some else bool(images) and images <= labels


def _endings(labels: Sequence[str], stems: set[str]) -> list[str]:
    """Lists what the names of labels have behind the longest stem of an image, most frequent first."""
    found: Counter[str] = Counter()
    for name in labels:
        places = [place for place, letter in enumerate(name) if letter in _MARKS]
        found.update(name[place:] for place in places if name[:place] in stems)
    return [ending for ending, _ in found.most_common(_CANDIDATES)]


def _common_endings(names: Sequence[str]) -> list[str]:
    """Lists endings that all names have, the longest first, such as ``_leftImg8bit.png`` and ``.png``."""
    reversed_names = [PurePosixPath(name).name[::-1] for name in names]
    common = os.path.commonprefix(reversed_names)[::-1]
    return [common[place:] for place, letter in enumerate(common) if letter in _MARKS]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix


def _without(name: str, ending: str) -> str:
    return name[:len(name) - len(ending)]
