"""What lies in the folder of a translated dataset, whatever the labels and files of the source are like."""
import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from shell_commands import ROOT
from tiny_translation import SIZE, contents, write_config, write_segmentor, write_source

from mmseg_cicld.datasets.file_reading import read_image, read_label
from mmseg_cicld.translation import TranslationError, translate_dataset
from mmseg_cicld.translation.dataset_writer import DatasetWriter
from mmseg_cicld.translation.run_settings import RunSettings
from mmseg_cicld.translation.source_images import SourceImages

RECORD = dict(classes={'0': 3}, labelled=3, masked=0, dropped=False)


def test_a_share_that_was_never_written_is_missed(tmp_path):
    source = SourceImages(write_source(tmp_path / 'source', 3))
    writer = DatasetWriter(tmp_path / 'out', source, 'symlink')
    writer.open(dict(seed=0))
    for file in source.files[::2]:  # process 0 of 2
        writer.write(file, source.read(file).image_HW3, None, RECORD)
    with pytest.raises(TranslationError, match='1 of 3 images are not translated, for example images/town/001.png: a '
                                               'process was stopped'):
        writer.close()
    file = source.files[1]
    writer.write(file, source.read(file).image_HW3, None, RECORD)
    writer.close()
    out = contents(tmp_path / 'out')
    assert sorted(name for name in out if name.startswith('translation/')) == ['translation/images.json',
                                                                               'translation/settings.json']
    np.testing.assert_array_equal(read_image(str(tmp_path / 'out/images/town/001.png')),
                                  read_image(str(tmp_path / 'source/images/town/001.png')))
    with pytest.raises(TranslationError, match='seed: there 0, asked for 1'):
        DatasetWriter(tmp_path / 'out', source, 'symlink').open(dict(seed=1))


def test_records_have_one_order_of_keys_and_of_images_whoever_wrote_them(tmp_path):
    source = SourceImages(write_source(tmp_path / 'source', 2))
    writer = DatasetWriter(tmp_path / 'out', source, 'symlink')
    writer.open(dict(seed=0))
    for file, record in zip(source.files[::-1], (RECORD, dict(reversed(RECORD.items())))):
        writer.write(file, source.read(file).image_HW3, None, record)
    writer.close()
    lines = (tmp_path / 'out/translation/images.json').read_text().splitlines()
    expected = [json.dumps(dict(RECORD, name=file.name), sort_keys=True) for file in source.files]
    assert lines == ['[', f'{expected[0]},', expected[1], ']']


def test_a_disk_without_links_is_told_what_to_set(tmp_path, monkeypatch):
    source = SourceImages(write_source(tmp_path / 'source', 1))
    writer = DatasetWriter(tmp_path / 'out', source, 'hardlink')
    writer.open({})

    def other_disk(path, place):
        raise OSError(errno.EXDEV, 'Invalid cross-device link')
    monkeypatch.setattr(os, 'link', other_disk)
    with pytest.raises(TranslationError, match="cross-device link.: set labels='symlink'"):
        writer.write(source.files[0], source.read(source.files[0]).image_HW3, None, RECORD)
    assert not writer.is_finished(source.files[0])
    assert sorted(contents(tmp_path / 'out')) == ['translation/settings.json']


def test_filtered_labels_keep_the_numbers_of_their_files(tmp_path):
    # Files count from 1, with 0 for what is ignored; the middle class is not wanted; one label is a palette PNG.
    classes = ('red', 'green', 'blue')
    config = write_config(tmp_path, count=2, quality_filter=dict(
        segmentor=write_segmentor(tmp_path / 'judge', order=(1, 0, 2)), region_agreement=0.5))
    for index in range(2):
        path = tmp_path / f'source/labels/town/{index:03}.png'
        stored = np.full(SIZE, 3, np.uint8)
        stored[:4], stored[4:6], stored[6:8] = 1, 0, 255
        image = np.where(stored[..., None] == [3, 2, 1], 255, 0).astype(np.uint8)
        (tmp_path / f'source/images/town/{index:03}.png').write_bytes(cv2.imencode('.png', image)[1])
        label = Image.fromarray(stored, mode='P' if index else 'L')
        if index:
            label.putpalette([7, 8, 9] * 256)
        label.save(path)
    config['source'] = dict(type='BaseSegDataset', data_root=str(tmp_path / 'source'), img_suffix='.png',
                            metainfo=dict(classes=classes), reduce_zero_label=True, serialize_data=False,
                            data_prefix=dict(img_path='images', seg_map_path='labels'))
    config['translation'] = dict(level=0.01, steps=1)
    out = translate_dataset(config, tmp_path / 'out', report=lambda line: None)
    for index in range(2):
        old, new = (read_label(str(root / f'labels/town/{index:03}.png')) for root in (tmp_path / 'source', out))
        assert (new[:4] == 255).all()  # red, in which the judge sees green
        np.testing.assert_array_equal(new[4:], old[4:])  # numbers as they were, not class ids
    stats = json.loads((out / 'sample_class_stats.json').read_text())
    assert [{key: value for key, value in entry.items() if key != 'file'} for entry in stats] == [{'2': 8 * 24}] * 2


def test_jpegs_stay_jpegs_and_labels_in_them_are_not_filtered(tmp_path):
    config = write_config(tmp_path, count=1)
    path = tmp_path / 'source/images/town/000.png'
    path.with_suffix('.JPG').write_bytes(cv2.imencode('.jpg', read_image(str(path)))[1])
    path.unlink()
    out = translate_dataset(config, tmp_path / 'out', report=lambda line: None)
    assert (out / 'images/town/000.JPG').read_bytes().startswith(b'\xff\xd8\xff')
    path = tmp_path / 'source/labels/town/000.png'
    path.with_suffix('.jpg').write_bytes(cv2.imencode('.jpg', np.zeros(SIZE, np.uint8))[1])
    config['source']['seg_map_suffix'] = '.jpg'
    config['quality_filter'] = dict(segmentor=write_segmentor(tmp_path / 'judge', order=(1, 2, 0)), pixel_confidence=0)
    with pytest.raises(TranslationError, match='000.jpg is a file whose decoding changes class ids'):
        translate_dataset(config, tmp_path / 'filtered', report=lambda line: None)


CONFIGS = [path for pattern in ('sgg/translation_*.py', 'sgg/progressive_*.py', 'street/sgg_*.py')
           for path in sorted((ROOT / 'configs').glob(pattern))]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_configs_of_translations_are_accepted(path):
    settings = RunSettings.from_config(Config.fromfile(path))
    guide = Path(settings.segmentor['config'])
    if guide.parts[0] == 'work_dirs':  # a comparison trains it: work_dirs/comparisons/NAME/ROW/SEED/training.py
        guide = Path(f'configs/street/comparisons/{guide.parts[2]}.py')
    assert (ROOT / guide).is_file()
    size, tile = settings.working_size, settings.tile_settings
    assert size is None or tile is None or all(side >= part for side, part in zip(size, tile.size))
    assert Path(settings.diffusion).name == 'diffusion'
