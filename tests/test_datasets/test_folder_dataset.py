"""Bring your own data: folders, classes from one place, labels that may be missing."""
import json
from pathlib import Path

import pytest
from mmseg.registry import DATASETS
from tiny_datasets import CLASSES, random_image, random_label, write_folder, write_image

from mmseg_cicld.datasets import FolderDataset

LABELLED = dict(img_path='images', seg_map_path='labels')


def build(root, prefix=LABELLED, **kwargs) -> FolderDataset:
    return DATASETS.build(dict(type='FolderDataset', data_root=str(root), data_prefix=dict(prefix), **kwargs))


def test_images_and_labels(tmp_path):
    dataset = build(write_folder(tmp_path, 3), metainfo=dict(classes=list(CLASSES)))
    info = dataset.get_data_info(2)
    assert len(dataset) == 3
    assert info['img_path'] == str(tmp_path / 'images' / '002.png')
    assert info['seg_map_path'] == str(tmp_path / 'labels' / '002.png')


def test_any_suffix_and_sub_folders(tmp_path):
    for name in ('a.jpg', 'b.JPG', 'sub/c.tif', 'sub/d.v2.png'):
        write_image(tmp_path / 'images' / name, random_image(0))
        write_image((tmp_path / 'labels' / name).with_suffix('.png'), random_label(0))
    (tmp_path / 'images' / 'notes.txt').write_text('not an image')
    dataset = build(tmp_path, metainfo=dict(classes=['x', 'y', 'z']))
    labels = [dataset.get_data_info(i)['seg_map_path'] for i in range(len(dataset))]
    assert labels == [str(tmp_path / 'labels' / name) for name in ('a.png', 'b.png', 'sub/c.png', 'sub/d.v2.png')]


def test_labels_in_capitals(tmp_path):
    write_folder(tmp_path, 3)
    (tmp_path / 'labels' / '001.png').rename(tmp_path / 'labels' / '001.PNG')
    write_image(tmp_path / 'labels' / '002.PNG', random_label(9))  # beside 002.png, which is called as it should be
    dataset = build(tmp_path)
    names = [dataset.get_data_info(i)['seg_map_path'].rpartition('/')[2] for i in range(3)]
    assert names == ['000.png', '001.PNG', '002.png']


@pytest.mark.parametrize('given', ['_Mask.PNG', '_mask.png'])
def test_own_suffixes_in_capitals(tmp_path, given):
    write_image(tmp_path / 'images' / 'a_rgb.PNG', random_image(0))
    write_image(tmp_path / 'images' / 'a_MASK.PNG', random_label(0))
    dataset = build(tmp_path, dict(img_path='images', seg_map_path='images'), img_suffix='_RGB.png',
                    seg_map_suffix=given)
    assert dataset.get_data_info(0)['seg_map_path'] == str(tmp_path / 'images' / 'a_MASK.PNG')


def test_own_suffixes(tmp_path):
    write_image(tmp_path / 'images' / 'a_rgb.png', random_image(0))
    write_image(tmp_path / 'images' / 'a_depth.png', random_image(0))
    write_image(tmp_path / 'images' / 'a_mask.png', random_label(0))
    dataset = build(tmp_path, dict(img_path='images', seg_map_path='images'), img_suffix='_rgb.png',
                    seg_map_suffix='_mask.png', metainfo=dict(classes=['x']))
    assert len(dataset) == 1 and dataset.get_data_info(0)['seg_map_path'].endswith('a_mask.png')


@pytest.mark.parametrize('text', ['road\ncar\nsign\n', '\n road \r\ncar\n\nsign', '\ufeffroad\ncar\nsign'])
def test_classes_from_a_text_file(tmp_path, text):
    write_folder(tmp_path, 1)
    (tmp_path / 'classes.txt').write_text(text, encoding='utf-8')
    assert tuple(build(tmp_path).metainfo['classes']) == CLASSES  # found in data_root
    (tmp_path / 'classes.txt').rename(tmp_path / 'names.txt')
    assert tuple(build(tmp_path, metainfo=dict(classes=str(tmp_path / 'names.txt'))).metainfo['classes']) == CLASSES


@pytest.mark.parametrize('content', [['road', 'car'], {'classes': ['road', 'car']},
                                     {'classes': ['road', 'car'], 'palette': [[1, 2, 3], [4, 5, 6]]}])
def test_classes_from_json(tmp_path, content):
    write_folder(tmp_path, 1)
    (tmp_path / 'classes.json').write_text(json.dumps(content))
    metainfo = build(tmp_path).metainfo
    assert metainfo['classes'] == ['road', 'car'] and len(metainfo['palette']) == 2
    if 'palette' in content:
        assert metainfo['palette'] == content['palette']


@pytest.mark.parametrize('content, words', [
    ('{', 'no valid JSON'), ('[]', 'at least one class'), ('["a", "a"]', r"\['a'\] more than once"),
    ('{"names": ["a"]}', "keys .*'names'"), ('[1, 2]', 'list of at least one class name'),
    (json.dumps([f'c{i}' for i in range(256)]), '255 of them class ids at most')])
def test_bad_class_files(tmp_path, content, words):
    write_folder(tmp_path, 1)
    (tmp_path / 'classes.json').write_text(content)
    with pytest.raises(ValueError, match=words):
        build(tmp_path)


def test_missing_class_file(tmp_path):
    write_folder(tmp_path, 1)
    with pytest.raises(ValueError, match='gone.txt.* does not exist'):
        build(tmp_path, metainfo=dict(classes='gone.txt'))


def test_unlabelled(tmp_path):
    write_folder(tmp_path, 2, labelled=False)
    dataset = build(tmp_path, dict(img_path='images'))
    assert 'seg_map_path' not in dataset.get_data_info(0) and not dataset.metainfo.get('classes')


def test_images_without_labels_are_named(tmp_path):
    write_folder(tmp_path, 3)
    (tmp_path / 'labels' / '001.png').unlink()
    with pytest.raises(ValueError, match=r'1 of 3 images have no label in .*labels.* 001.png: .*seg_map_suffix'):
        build(tmp_path)


def test_label_folder_that_is_missing(tmp_path):
    write_folder(tmp_path, 1, labelled=False)
    with pytest.raises(ValueError, match='labels.* is no folder: set data_prefix.seg_map_path, or remove it'):
        build(tmp_path)


def test_images_that_share_a_label(tmp_path):
    write_folder(tmp_path, 1)
    write_image(tmp_path / 'images' / '000.jpg', random_image(0))
    with pytest.raises(ValueError, match='000.jpg, 000.png'):
        build(tmp_path)


def test_ann_file_chooses_images(tmp_path):
    write_folder(tmp_path, 4)
    (tmp_path / 'few.txt').write_text('003.png\n001\n\n')
    dataset = build(tmp_path, ann_file='few.txt')
    assert [dataset.get_data_info(place)['img_path'][-7:] for place in range(len(dataset))] == ['001.png', '003.png']
    assert [dataset.get_data_info(place)['seg_map_path'][-7:] for place in range(2)] == ['001.png', '003.png']


@pytest.mark.parametrize('content, words', [
    (None, 'ann_file=.*few.txt.* does not exist'),
    ('000\n009\n', r"few.txt lists 1 images that are not there, such as \['009'\]"),
    ('\n', 'few.txt lists 0 images'),
])
def test_ann_file_that_does_not_fit(tmp_path, content, words):
    write_folder(tmp_path, 1)
    if content is not None:
        (tmp_path / 'few.txt').write_text(content)
    with pytest.raises(ValueError, match=words):
        build(tmp_path, ann_file='few.txt')


def test_images_without_a_label_are_left_out_where_that_is_asked_for(tmp_path):
    write_folder(tmp_path, 3)
    (tmp_path / 'labels/001.png').unlink()
    dataset = build(tmp_path, skip_unlabelled=True)
    assert [Path(dataset.get_data_info(i)['img_path']).name for i in range(len(dataset))] == ['000.png', '002.png']
    assert Path(dataset.get_data_info(1)['seg_map_path']).name == '002.png'
    for name in ('000', '002'):
        (tmp_path / f'labels/{name}.png').rename(tmp_path / f'labels/x{name}.png')
    with pytest.raises(ValueError, match='no image in .* has a label in .*seg_map_suffix'):
        build(tmp_path, skip_unlabelled=True)
