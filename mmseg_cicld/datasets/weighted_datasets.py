"""Several datasets as one domain: each with its own share of the draws and its own names of classes."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import ConcatDataset
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..ignore_index import IGNORE_INDEX
from ..mmengine_internals import set_classes
from ..random_streams import KeyedStreams
from .domain import build_dataset

ClassMap = Mapping[str, str | None]


@DATASETS.register_module()
class WeightedConcatDataset(ConcatDataset):
    """Joins datasets into one source, or one target, of :class:`UDADataset`, with a share of the draws for each.

    Two synthetic sources, the second with classes of its own, three draws of the first to one of the second::

        source=dict(
            type='WeightedConcatDataset',
            classes=['road', 'person', 'car'],
            datasets=[dict(type='GTADataset', ...), dict(type='FolderDataset', ...)],
            weights=[3, 1],
            class_maps=[None, dict(street='road', pedestrian='person')])

    Each dataset keeps its own pipeline, so that sizes and margins without pseudo-labels are its own. Which dataset is
    drawn, then which of its files, follows from the key of the draw; rare class sampling draws a class by the shares of
    its pixels over all of them, then a dataset by its weight among those that show it.

    Args:
        datasets: Configs of the datasets, or datasets.
        weights: How often each is drawn, relative to the others, above 0. None: by their numbers of images.
        classes: Names of the classes that are trained; those of the first dataset by default.
        class_maps: For each dataset, None or a mapping from its names of classes to those of ``classes``. A name that
            the mapping leaves out stays if ``classes`` has it and is ignored otherwise; None as a value ignores it.

    Raises:
        ValueError: If the lists have different lengths, a weight is not above 0, or a mapping names an unknown class.
    """

    def __init__(self, datasets: Sequence[dict | BaseSegDataset], weights: Sequence[float] | None = None,
                 classes: Sequence[str] | None = None, class_maps: Sequence[ClassMap | None] | None = None) -> None:
        built = [build_dataset(each, f'datasets.{place}') if isinstance(each, dict) else each
                 for place, each in enumerate(datasets)]
        for key, values in dict(weights=weights, class_maps=class_maps).items():
            if values is not None and len(values) != len(built):
                raise ValueError(f'WeightedConcatDataset has {len(built)} datasets but {len(values)} {key}: give one '
                                 f'entry of {key} for each dataset')
        if weights is not None and not all(weight > 0 for weight in weights):
            raise ValueError(f'weights={list(weights)} of WeightedConcatDataset: all must be above 0; remove the datasets '
                             'that are not to be drawn')
        names = list(classes or built[0].metainfo.get('classes') or ())
        if names:
            _name_classes(built, names, class_maps or [None] * len(built))
        super().__init__(built, ignore_keys=['label_map', 'palette'])
        raw = [len(each) for each in built] if weights is None else weights
        self.shares = np.asarray(raw, np.float64) / sum(raw)

    def draw(self, generator: np.random.Generator) -> int:
        """Draws the index of a file: a dataset by its share, then any of its files."""
        place = int(generator.choice(len(self.shares), p=self.shares))
        first = self.cumulative_sizes[place - 1] if place else 0
        return first + int(generator.integers(len(self.datasets[place])))


class WeightedOrder:
    """Gives every position a file of a :class:`WeightedConcatDataset`, each draw independent of the others.

    Args:
        name: Name of the random stream.
        dataset: What is drawn from.
    """

    def __init__(self, name: str, dataset: WeightedConcatDataset) -> None:
        self.name, self.dataset = name, dataset

    def __call__(self, streams: KeyedStreams, position: int) -> int:
        """Returns the index at a position; any position can be asked for, in any order."""
        return self.dataset.draw(streams.numpy(f'data.{self.name}', position))


def _name_classes(datasets: Sequence[Any], names: list[str], class_maps: Sequence[ClassMap | None]) -> None:
    """Gives all datasets the classes that are trained, and the table of their own ids that leads there."""
    palette = _palette(datasets, names)
    for place, (dataset, class_map) in enumerate(zip(datasets, class_maps)):
        own = list(dataset.metainfo.get('classes') or names)
        if not isinstance(dataset, BaseSegDataset):
            if own != names or class_map:
                raise ValueError(f'datasets.{place} of WeightedConcatDataset has the classes {own}, wanted are {names}, '
                                 f'and a {type(dataset).__name__} renames none: put its datasets into the list one by one')
            continue
        label_map = _label_map(own, names, class_map or {}, place)
        set_classes(dataset, names, palette, None if own == names and not class_map else _after(dataset, label_map))


def _palette(datasets: Sequence[Any], names: list[str]) -> list[list[int]]:
    """Returns for each class the colour of the first dataset that has it, and a grey for a class that none has."""
    colours = {name: colour for dataset in reversed(datasets)
               for name, colour in zip(dataset.metainfo.get('classes') or (), dataset.metainfo.get('palette') or ())}
    greys = np.linspace(0, 255, len(names)).astype(int).tolist()
    return [list(colours.get(name, [grey] * 3)) for name, grey in zip(names, greys)]


def _label_map(own: list[str], names: list[str], class_map: ClassMap, place: int) -> dict[int, int]:
    wanted_names = [name for name in class_map.values() if name is not None]
    for kind, asked, known in (('its own classes', class_map, own), ('the classes that are trained', wanted_names, names)):
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise ValueError(f'class_maps.{place} of WeightedConcatDataset names {unknown}, which are none of {kind} '
                             f'{known}: correct class_maps.{place}')
    wanted = [class_map.get(name, name) for name in own]
    return {number: names.index(name) if name in names else IGNORE_INDEX for number, name in enumerate(wanted)}


def _after(dataset: BaseSegDataset, label_map: dict[int, int]) -> dict[int, int]:
    """Puts a table of ids behind the one that a dataset has already."""
    before: dict[int, int] | None = dataset.label_map
    return label_map if before is None else {own: label_map.get(new, IGNORE_INDEX) for own, new in before.items()}
