"""Data on other storage than the disk: all of it is reached through ``backend_args``, or refused by name."""
import json
import os

import pytest
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmseg.registry import DATASETS
from tiny_datasets import CLASSES, PACK, SOURCE_STEPS, folder_config, random_image, write_folder, write_image

from mmseg_cicld.datasets import DataFileError, UDADataset, audit_train_datasets
from mmseg_cicld.datasets.class_statistics import count_files, label_files, write_statistics
from mmseg_cicld.translation.errors import TranslationError
from mmseg_cicld.translation.measurement import _target_files
from mmseg_cicld.translation.source_images import SourceImages


class Bucket(LocalBackend):
    """Files of a folder that are reached by ``bucket:PATH`` and by no path of the disk."""

    def __init__(self, root: str) -> None:
        self.root = root

    def _at(self, path: str) -> str:
        if not str(path).startswith('bucket:'):
            raise FileNotFoundError(path)
        return os.path.join(self.root, str(path)[len('bucket:'):].lstrip('/'))

    def get(self, path):
        return super().get(self._at(path))

    def get_text(self, path, encoding='utf-8'):
        return super().get_text(self._at(path), encoding)

    def isdir(self, path):
        return super().isdir(self._at(path))

    def isfile(self, path):
        return super().isfile(self._at(path))

    def join_path(self, path, *more):
        return '/'.join([path, *more])

    def list_dir_or_file(self, path, *args, **kwargs):
        return super().list_dir_or_file(self._at(path), *args, **kwargs)


@pytest.fixture
def storage(tmp_path):
    register_backend('bucket', Bucket, force=True)
    return dict(backend='bucket', root=str(tmp_path))


@pytest.fixture
def source(tmp_path, storage):
    write_folder(tmp_path / 'source', 3)
    steps = [dict(step, backend_args=storage) for step in SOURCE_STEPS]
    return dict(folder_config('bucket:source', pipeline=[*steps, PACK]), backend_args=storage)


def test_all_that_training_reads(source, tmp_path):
    (tmp_path / 'source' / 'classes.txt').write_text('\n'.join(CLASSES))
    del source['metainfo']
    dataset = DATASETS.build(source)
    assert dataset.metainfo['classes'] == list(CLASSES)
    assert dataset.get_data_info(0)['seg_map_path'] == 'bucket:source/labels/000.png'
    write_statistics(count_files(label_files(dataset), 1), str(tmp_path / 'source'))
    config = Config(dict(val_dataloader=dict(dataset=source), train_dataloader=dict(
        sampler=dict(type='KeyedInfiniteSampler'), dataset=dict(type='UDADataset', source=source, target=source,
                                                                rare_class_sampling=dict(min_pixels=0)))))
    assert [report.ok for report in audit_train_datasets(config)] == [True] * 3
    item = DATASETS.build(config.train_dataloader.dataset)[0]
    assert item['source']['inputs'].shape == item['target']['inputs'].shape == (3, 24, 40)


def test_files_that_are_missing_there_are_named(source, tmp_path):
    dataset = UDADataset(source)
    (tmp_path / 'source' / 'images' / '001.png').unlink()
    with pytest.raises(DataFileError, match='bucket:source/images/001.png does not exist'):
        for position in range(3):
            dataset[position]


def test_a_file_of_class_names_that_is_given_lies_on_the_disk(source, tmp_path):
    (tmp_path / 'names.txt').write_text('a\nb\nc')
    named = dict(source, metainfo=dict(classes=str(tmp_path / 'names.txt')))
    assert DATASETS.build(named).metainfo['classes'] == ['a', 'b', 'c']


@pytest.mark.parametrize('step', [0, 1])
def test_a_step_that_looks_on_the_disk_is_found_before_training(source, step):
    del source['pipeline'][step]['backend_args']
    config = Config(dict(train_dataloader=dict(dataset=source)))
    with pytest.raises(ValueError, match=f'bucket:source/{("images", "labels")[step]}/000.png does not exist'):
        audit_train_datasets(config)


def test_a_list_of_files_is_refused(source):
    listed = dict(type='BaseSegDataset', data_root='bucket:source', ann_file='train.txt', img_suffix='.png',
                  data_prefix=dict(img_path='images'), backend_args=source['backend_args'])
    with pytest.raises(ValueError, match='ann_file=.* of the target dataset goes with backend_args=.*remove ann_file'):
        UDADataset(source, listed)


def test_statistics_that_are_missing(source, tmp_path, run):
    words = r'bucket:source/sample_class_stats.json does not exist.*rare_class_stats.py CONFIG --out FOLDER, and set ' \
            'rare_class_sampling.stats'
    with pytest.raises(ValueError, match=words):
        UDADataset(source, rare_class_sampling=dict(min_pixels=0))
    Config(dict(train_dataloader=dict(dataset=dict(type='UDADataset', source=source)))).dump(tmp_path / 'config.py')
    with pytest.raises(ValueError, match="data_root='bucket:source' is no folder of the disk: give --out FOLDER"):
        run('rare_class_stats', tmp_path / 'config.py')
    assert run('rare_class_stats', tmp_path / 'config.py', '--out', tmp_path / 'out') == 0
    stats = tmp_path / 'out' / 'sample_class_stats.json'
    assert json.loads(stats.read_text())[0]['file'] == 'bucket:source/labels/000.png'
    assert UDADataset(source, rare_class_sampling=dict(min_pixels=0, stats=str(stats)))[0]


def test_translations_are_made_and_read_on_the_disk(source, tmp_path):
    with pytest.raises(ValueError, match='translated is read from the disk, but its source has backend_args'):
        UDADataset(source, translated=dict(data_root=str(tmp_path)))
    with pytest.raises(TranslationError, match='source.backend_args=.*of the disk'):
        SourceImages(source)
    with pytest.raises(TranslationError, match='report.target.backend_args=.*from the disk'):
        _target_files(source)


def test_the_disk_itself_may_be_named(tmp_path):
    local = dict(folder_config(write_folder(tmp_path / 'a', 2)), backend_args=dict(backend='local'))
    write_image(tmp_path / 'a' / 'images' / '001.png', random_image(5))
    assert len(UDADataset(local)) == 2 and SourceImages(local).files[1].name == 'images/001.png'
