"""Faulty files: each gives an error that names file and fix, or is read correctly; before training and in it."""
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import DATASETS
from PIL import Image
from tiny_datasets import (CLASSES, PACK, SOURCE_STEPS, folder_config, random_crops, random_image, random_label,
                           write_folder, write_image)

from mmseg_cicld.datasets import DataFileError, UDADataset, audit_dataset
from mmseg_cicld.datasets.file_reading import read_image, read_label

STOCK_STEPS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / 'data', 3)


def audit(root: Path, **kwargs) -> list:
    return audit_dataset(DATASETS.build(folder_config(root, pipeline=[])), **kwargs).findings


def refused_in_training(root: Path, words: str, pipeline: list | None = None) -> None:
    """All samples are drawn: one of them must be refused with these words."""
    dataset = UDADataset(folder_config(root, pipeline=pipeline))
    with pytest.raises(DataFileError, match=words):
        for position in range(3):
            dataset[position]


def palette_png(path: Path, label: np.ndarray) -> None:
    image = Image.fromarray(label, 'P')
    image.putpalette([i for rgb in np.random.default_rng(0).integers(0, 256, (256, 3)) for i in rgb.tolist()])
    image.save(path)


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * share)])


def spoil_image_empty(root):
    (root / 'images' / '001.png').write_bytes(b'')


def spoil_image_cut(root):
    cut(root / 'images' / '001.png', 0.6)


def spoil_image_text(root):
    (root / 'images' / '001.png').write_text('no image at all')


def spoil_label_empty(root):
    (root / 'labels' / '001.png').write_bytes(b'')


def spoil_label_cut(root):
    cut(root / 'labels' / '001.png', 0.6)


def spoil_label_rgb(root):
    write_image(root / 'labels' / '001.png', random_image(1))


def spoil_label_size(root):
    write_image(root / 'labels' / '001.png', random_label(1, 24, 44))


def spoil_label_ids(root):
    write_image(root / 'labels' / '001.png', np.full((24, 40), 7, np.uint8))


def spoil_label_palette(root):
    palette_png(root / 'labels' / '001.png', np.full((24, 40), 200, np.uint8))


def spoil_label_16_bit(root):
    write_image(root / 'labels' / '001.png', np.full((24, 40), 300, np.uint16))


SPOILS = {
    spoil_image_empty: ('image', r'001.png is empty \(0 bytes\): copy or download'),
    spoil_image_cut: ('image', r'images/001.png (is cut off|is damaged).*copy or download'),
    spoil_image_text: ('image', 'images/001.png is damaged or no image'),
    spoil_label_empty: ('label', r'labels/001.png is empty'),
    spoil_label_cut: ('label', 'labels/001.png is damaged'),
    spoil_label_rgb: ('label', 'labels/001.png has 3 channels: class ids are needed'),
    spoil_label_size: ('size', r'image .*001.png is 40x24 .*001.png is 44x24: they must be equal'),
    spoil_label_ids: ('ids', r'labels/001.png has the ids \[7\].*allowed are 0 to 2 and 255.*convert'),
    spoil_label_palette: ('ids', r'labels/001.png has the ids \[200\].*allowed are 0 to 2'),
    spoil_label_16_bit: ('label', 'labels/001.png holds numbers from 300 to 300'),
}


@pytest.mark.parametrize('spoil', SPOILS, ids=lambda f: f.__name__)
def test_training_names_file_and_fix(root, spoil):
    spoil(root)
    refused_in_training(root, SPOILS[spoil][1])


@pytest.mark.parametrize('spoil', SPOILS, ids=lambda f: f.__name__)
def test_audit_names_file_and_fix(root, spoil):
    assert audit(root) == []
    spoil(root)
    kind, words = SPOILS[spoil]
    (finding,) = audit(root)
    assert finding.kind == kind and finding.file.endswith('001.png')
    assert re.search(words, finding.text)


@pytest.mark.parametrize('spoil', [spoil_image_empty, spoil_image_text, spoil_label_empty, spoil_label_cut,
                                   spoil_label_rgb, spoil_label_ids, spoil_label_palette],
                         ids=lambda f: f.__name__)
def test_stock_loading_is_explained_too(root, spoil):
    spoil(root)
    refused_in_training(root, r'001.png', STOCK_STEPS)


@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_file_that_vanishes_during_training(root, kind):
    dataset = UDADataset(folder_config(root))
    (root / kind / '001.png').unlink()
    with pytest.raises(DataFileError, match=f'{kind}/001.png does not exist'):
        for position in range(3):
            dataset[position]


@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_audit_finds_missing_files(root, kind):
    dataset = DATASETS.build(folder_config(root, pipeline=[]))
    (root / kind / '001.png').unlink()
    (finding,) = audit_dataset(dataset).findings
    assert finding.kind == 'missing' and finding.file.endswith(f'{kind}/001.png')


def test_truncated_jpeg(tmp_path):
    path = write_image(tmp_path / 'a.jpg', random_image(0, 100, 100))
    assert read_image(str(path)).shape == (100, 100, 3)
    cut(path, 0.7)
    with pytest.raises(DataFileError, match='a.jpg is (cut off|damaged)'):
        read_image(str(path))


def test_file_with_data_after_its_end_is_read(tmp_path):
    path = write_image(tmp_path / 'a.jpg', random_image(0))
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert read_image(str(path)).shape == (24, 40, 3)


@pytest.mark.parametrize('image', [
    random_image(0)[..., 0], random_image(0), np.dstack([random_image(0), random_image(1)[..., 0]]),
    random_image(0).astype(np.uint16) * 257], ids=['grey', 'colour', 'alpha', '16 bit'])
def test_kinds_of_images_are_read(root, image):
    write_image(root / 'images' / '001.png', image)
    read = read_image(str(root / 'images' / '001.png'))
    assert read.dtype == np.uint8 and read.shape == (24, 40, 3)
    np.testing.assert_array_equal(read[..., 0], random_image(0)[..., 0])
    dataset = UDADataset(folder_config(root))
    assert {dataset[i]['source']['inputs'].shape for i in range(3)} == {(3, 24, 40)}


def test_kinds_of_labels_are_read(tmp_path):
    label = random_label(0)
    write_image(tmp_path / '8.png', label)
    write_image(tmp_path / '16.png', label.astype(np.uint16))
    palette_png(tmp_path / 'p.png', label)
    for name in ('8.png', '16.png', 'p.png'):
        np.testing.assert_array_equal(read_label(str(tmp_path / name)), label)
    Image.fromarray(label == 1).save(tmp_path / '1.png')
    np.testing.assert_array_equal(read_label(str(tmp_path / '1.png')), (label == 1).astype(np.uint8))


def test_palette_labels_are_reported(root):
    palette_png(root / 'labels' / '001.png', random_label(1))
    report = audit_dataset(DATASETS.build(folder_config(root, pipeline=[])))
    assert report.ok and report.palette_files == 1 and 'palette indices' in report.table()


def test_binary_masks_are_found(root):
    for i in range(3):
        write_image(root / 'labels' / f'{i:03}.png', np.where(random_label(i) == 1, 255, 0).astype(np.uint8))
    (finding,) = audit(root)
    assert finding.kind == '0/255 masks' and 'write 1 in place of 255' in finding.message


def test_ignored_pixels_are_no_binary_mask(root):
    write_image(root / 'labels' / '001.png', np.where(random_label(1) == 1, 255, 0).astype(np.uint8))
    assert audit(root) == []


def test_label_without_any_class(root):
    write_image(root / 'labels' / '001.png', np.full((24, 40), 255, np.uint8))
    report = audit_dataset(DATASETS.build(folder_config(root, pipeline=[])))
    assert [f.kind for f in report.findings] == ['all-ignore'] and not report.blocking
    for i in (0, 2):
        write_image(root / 'labels' / f'{i:03}.png', np.full((24, 40), 255, np.uint8))
    report = audit_dataset(DATASETS.build(folder_config(root, pipeline=[])))
    assert len(report.blocking) == 3
    dataset = UDADataset(folder_config(root, pipeline=random_crops()))  # it can be drawn, it only teaches nothing
    assert dataset[0]['source']['data_samples'].gt_sem_seg.data.unique().tolist() == [255]


def test_any_characters_in_paths(tmp_path):
    root = write_folder(tmp_path / 'Straßen daten 日本 (1)', 2)
    for kind in ('images', 'labels'):
        (root / kind / '001.png').rename(root / kind / 'ümläut name.png')
    dataset = UDADataset(folder_config(root))
    assert audit(root) == [] and len({dataset[i]['source']['data_samples'].img_path for i in range(2)}) == 2


@pytest.mark.parametrize('role', ['source', 'target'])
def test_empty_folder(root, tmp_path, role):
    (tmp_path / 'none' / 'images').mkdir(parents=True)
    configs = dict(source=folder_config(root), target=folder_config(root))
    configs[role] = folder_config(tmp_path / 'none', labelled=False)
    with pytest.raises(ValueError, match="no image .*none/images.*img_path"):
        UDADataset(**configs)


@pytest.mark.parametrize('dataset_type', ['CityscapesDataset', 'GTADataset', 'BaseSegDataset'])
def test_empty_or_missing_folder_of_other_datasets(root, tmp_path, dataset_type):
    config = dict(type=dataset_type, data_root=str(tmp_path), data_prefix=dict(img_path='none'), pipeline=[])
    with pytest.raises(ValueError, match='the target dataset reads images from .*none.*no folder: set its data_root'):
        UDADataset(folder_config(root), config)
    (tmp_path / 'none').mkdir()
    with pytest.raises(ValueError, match=r'the target dataset finds no image \*.*none.*img_suffix'):
        UDADataset(folder_config(root), config)


def test_images_that_other_datasets_would_leave_out_for_their_capitals(root):
    (root / 'images' / '001.png').rename(root / 'images' / '001.PNG')
    config = dict(type='GTADataset', data_root=str(root), data_prefix=dict(img_path='images'), pipeline=[])
    with pytest.raises(ValueError, match="1 of 3 images in .*001.PNG, end as img_suffix='.png' of the target dataset "
                                         'says but for capital letters, so GTADataset would leave them out'):
        UDADataset(folder_config(root), config)


def test_missing_ann_file(root):
    config = dict(type='BaseSegDataset', data_root=str(root), ann_file='gone.txt', data_prefix=dict(img_path='images'))
    with pytest.raises(ValueError, match='gone.txt.*does not exist'):
        UDADataset(folder_config(root), config)


def test_crop_larger_than_the_image_is_padded(root):
    target = folder_config(root, labelled=False, pipeline=[
        SOURCE_STEPS[0], dict(type='RandomCrop', crop_size=(32, 32)), dict(PACK, crop_size=(32, 32))])
    dataset = UDADataset(folder_config(root, pipeline=random_crops((64, 64))), target)
    item = dataset[0]
    mask = item['target']['data_samples'].valid_pseudo_mask.data
    assert item['target']['inputs'].shape == (3, 24, 32) and mask.shape == (1, 32, 32)
    assert mask[:, :24].all() and not mask[:, 24:].any()
    preprocess = SegDataPreProcessor(mean=[0] * 3, std=[1] * 3, size=(64, 64), pad_val=0, seg_pad_val=255)
    batch = preprocess(dict(inputs=[item['source']['inputs']], data_samples=[item['source']['data_samples']]), True)
    label = batch['data_samples'][0].gt_sem_seg.data
    assert batch['inputs'].shape == (1, 3, 64, 64) and label.shape == (1, 64, 64)
    assert (label[:, 36:] == 255).all() and (label[:, :36, :60] != 255).any()


def test_domains_of_different_sizes(tmp_path):
    dataset = UDADataset(folder_config(write_folder(tmp_path / 's', 2), pipeline=random_crops()),
                         folder_config(write_folder(tmp_path / 't', 2, False, 51, 33), False,
                                       random_crops(labelled=False)))
    for i in range(2):
        assert dataset[i]['source']['inputs'].shape == dataset[i]['target']['inputs'].shape == (3, 16, 16)


def test_source_pipeline_without_labels(root):
    with pytest.raises(DataFileError, match='without a label: the source pipeline needs LoadLabelStrictly'):
        UDADataset(folder_config(root, pipeline=[SOURCE_STEPS[0], PACK]))[0]


@pytest.mark.parametrize('steps', [[*SOURCE_STEPS, PACK], STOCK_STEPS], ids=['strict', 'stock'])
@pytest.mark.parametrize('role', ['source', 'target'])
def test_unlabelled_data_with_a_pipeline_that_loads_labels(root, steps, role):
    configs = dict(source=folder_config(root), target=folder_config(root))
    configs[role] = folder_config(root, labelled=False, pipeline=steps)
    with pytest.raises(DataFileError, match=f'{role} dataset.*(Remove the label loading|remove LoadLabelStrictly|'
                                            'Set data_prefix.seg_map_path)'):
        UDADataset(**configs)[0]


def test_failing_transform_is_named_with_its_files(root):
    def broken(results):
        raise RuntimeError('cannot do this')
    with pytest.raises(DataFileError, match=r'images/00\d.png.*RuntimeError: cannot do this.*source.pipeline'):
        UDADataset(folder_config(root, pipeline=[*SOURCE_STEPS, broken, PACK]))[0]


def test_no_other_image_takes_the_place_of_a_bad_one(root):
    (root / 'images' / '001.png').write_bytes(b'')
    steps = [dict(type='LoadImageFromFile', ignore_empty=True), *STOCK_STEPS[1:]]
    refused_in_training(root, 'images/001.png is empty', steps)


def test_messages_of_decoders_become_one_line():
    assert str(DataFileError('a.png cannot be decoded (line\n  > other):\n remove it')) == (
        'a.png cannot be decoded (line > other): remove it')


def test_dataset_that_is_no_config(root):
    with pytest.raises(TypeError, match='source dataset must be given as a config'):
        UDADataset('data/source')


def test_error_crosses_a_worker_process(root):
    (root / 'images' / '001.png').write_bytes(b'')
    loader = torch.utils.data.DataLoader(UDADataset(folder_config(root)), batch_size=3, num_workers=1)
    with pytest.raises(DataFileError) as error:
        next(iter(loader))
    file = root / 'images' / '001.png'
    assert str(error.value) == (f'source dataset: image {file} is empty (0 bytes): copy or download it again')


def test_opencv_and_pillow_agree_on_grey_labels(tmp_path):
    path = write_image(tmp_path / 'a.png', random_label(3))
    np.testing.assert_array_equal(read_label(str(path)), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    assert len(CLASSES) == 3
