"""Source images of which some are replaced by their translation to the look of the target."""
import os
from collections.abc import Callable
from pathlib import Path

from ..random_streams import KeyedStreams
from .domain import Domain, build_dataset
from .sample_reading import Draw
from .wrapped_datasets import is_local, leaf_configs

STREAM = 'data.translated'
RECORDS = 'translation'  # folder of tools/translate_dataset.py; images.json in it comes last


class TranslatedSource:
    """Chooses for every draw between a source image and its translation by ``tools/translate_dataset.py``.

    A translation belongs to the image of the same name. Images that the quality filter of the translation has dropped
    have none and are always taken as they are.

    Args:
        original: The source.
        config: Its config; the translations are read with the same one, from another ``data_root``.
        data_root: Folder that the translation has written.
        share: Probability in (0, 1] of the translation. 1 takes translations alone, except for the dropped images.
        cache: Folder of the translations in a cache of decoded images, see :class:`Domain`.

    Raises:
        ValueError: If ``share`` is out of range, the translation is not finished, the config reads files of the source
            whatever its ``data_root`` is, or the folder has images that the source does not have.
    """

    def __init__(self, original: Domain, config: dict, data_root: str, share: float = 0.5,
                 cache: str | None = None) -> None:
        if not 0 < share <= 1:
            raise ValueError(f'train_dataloader.dataset.translated.share is {share}, allowed is above 0 up to 1')
        if config.get('data_root') is None:
            raise ValueError('train_dataloader.dataset.translated needs data_root in train_dataloader.dataset.source, '
                             'which its own data_root takes the place of, and data_prefix relative to it')
        if any(not is_local(leaf.get('data_root') or '', leaf.get('backend_args')) for leaf in leaf_configs(config)):
            raise ValueError('train_dataloader.dataset.translated is read from the disk, but its source has '
                             f'backend_args={config.get("backend_args")}: copy the source to the disk and remove backend_args')
        records = Path(data_root, RECORDS)
        if records.is_dir() and not (records / 'images.json').is_file():
            raise ValueError(f'{data_root} is a translation that was stopped: run tools/translate_dataset.py once more '
                             'to finish it, or correct train_dataloader.dataset.translated.data_root')
        self.original, self.share = original, share
        self.translated = Domain(build_dataset(dict(config, data_root=data_root), 'translated source'), 'source', cache)
        _refuse_files_of_the_source(original, self.translated)
        places = {_name(original, index): index for index in range(len(original))}
        names = [_name(self.translated, index) for index in range(len(self.translated))]
        foreign = [name for name in names if name not in places]
        if foreign:
            raise ValueError(f'{data_root} has {len(foreign)} images that the source does not have, such as '
                             f'{foreign[0]}: it is the translation of another data set. Set train_dataloader.dataset.'
                             'translated.data_root to that of this source')
        self._index = {places[name]: index for index, name in enumerate(names)}

    def reader(self, index: int, streams: KeyedStreams, position: int) -> Callable[[], Draw]:
        """Returns what reads a source image, or its translation, as :meth:`Domain.reader` does."""
        if index in self._index and streams.numpy(STREAM, position).random() < self.share:
            return self.translated.reader(self._index[index])
        return self.original.reader(index)


def _refuse_files_of_the_source(original: Domain, translated: Domain) -> None:
    for key in ('img_path', 'seg_map_path'):
        path = translated.dataset.data_prefix.get(key)
        if path is not None and os.path.realpath(path) == os.path.realpath(original.dataset.data_prefix[key]):
            raise ValueError(f'the translations would be read from {path}, which belongs to the source: make '
                             f'train_dataloader.dataset.source.data_prefix.{key} relative to its data_root, and set '
                             'train_dataloader.dataset.translated.data_root to the output of the translation')


def _name(domain: Domain, index: int) -> str:
    folder = domain.dataset.data_prefix['img_path']
    return os.path.relpath(domain.data_info(index)['img_path'], folder)
