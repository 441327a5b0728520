"""Converters on tiny copies of the published layouts: ids, files, repeated runs, faults."""
import json
import os
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from tiny_datasets import folder_config, random_image, random_label, write_folder, write_image

from mmseg_cicld.datasets import UDADataset

TOOLS = Path(__file__).parents[2] / 'tools' / 'dataset_converters'
GTA_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
           28: 15, 31: 16, 32: 17, 33: 18}
SYNTHIA_IDS = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14,
               19: 15, 20: 16, 12: 17, 11: 18}


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def mapped(ids: np.ndarray, table: dict[int, int]) -> np.ndarray:
    return np.vectorize(lambda number: table.get(int(number), 255))(ids).astype(np.uint8)


def gta(root: Path, count: int = 3) -> list[np.ndarray]:
    labels = [np.random.default_rng(i).integers(0, 35, (12, 16), dtype=np.uint8) for i in range(count)]
    for i, label in enumerate(labels):
        write_image(root / 'images' / f'{i:05}.png', random_image(i, 12, 16))
        (root / 'labels').mkdir(exist_ok=True)
        image = Image.fromarray(label, 'P')  # as published: palette PNG
        image.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
        image.save(root / 'labels' / f'{i:05}.png')
    return labels


@pytest.mark.parametrize('nproc', [1, 2])
def test_gta(run, tmp_path, nproc):
    labels = gta(tmp_path)
    assert run('gta', tmp_path, nproc=nproc) == 0
    stats = json.loads((tmp_path / 'sample_class_stats.json').read_text())
    for i, label in enumerate(labels):
        expected = mapped(label, GTA_IDS)
        np.testing.assert_array_equal(read(tmp_path / 'labels' / f'{i:05}_labelTrainIds.png'), expected)
        assert stats[i].pop('file') == (tmp_path / 'labels' / f'{i:05}_labelTrainIds.png').as_posix()
        assert stats[i] == {str(c): int((expected == c).sum()) for c in range(19) if (expected == c).any()}
    config = Config.fromfile(TOOLS.parents[1] / 'configs/_base_/datasets/gta2cityscapes-512x512.py')
    source = dict(config.train_dataloader.dataset.source, data_root=str(tmp_path))
    dataset = UDADataset(source, rare_class_sampling=dict(min_pixels=0))
    assert len(dataset) == 3 and 'gt_sem_seg' in dataset[0]['source']['data_samples']


def test_second_run_keeps_files_and_a_new_label_is_converted(run, tmp_path):
    gta(tmp_path)
    assert run('gta', tmp_path) == 0
    outputs = sorted((tmp_path / 'labels').glob('*_labelTrainIds.png'))
    before = [path.stat().st_mtime_ns for path in outputs]
    stats = (tmp_path / 'sample_class_stats.json').read_text()
    assert run('gta', tmp_path) == 0
    assert [path.stat().st_mtime_ns for path in outputs] == before
    assert (tmp_path / 'sample_class_stats.json').read_text() == stats
    newer = np.full((12, 16), 26, np.uint8)
    Image.fromarray(newer).save(tmp_path / 'labels' / '00001.png')
    os.utime(tmp_path / 'labels' / '00001.png', ns=(before[1] + 10**9, before[1] + 10**9))
    assert run('gta', tmp_path) == 0
    assert (read(outputs[1]) == 13).all() and outputs[0].stat().st_mtime_ns == before[0]


def test_nothing_half_written_stays(run, tmp_path):
    gta(tmp_path)
    (tmp_path / 'labels' / '00001.png').write_bytes(b'broken')
    message = run('gta', tmp_path)
    assert 'labels/00001.png is damaged' in message
    assert not (tmp_path / 'sample_class_stats.json').exists() and not list(tmp_path.rglob('.*.tmp'))


def test_synthia(run, tmp_path):
    classes = np.random.default_rng(0).integers(0, 23, (12, 16), dtype=np.uint16)
    instances = np.random.default_rng(1).integers(0, 2**16, (12, 16), dtype=np.uint16)
    # As published: class in the red channel (the last one in OpenCV's order), instance in green.
    write_image(tmp_path / 'GT' / 'LABELS' / '0000000.png', np.dstack([instances * 0, instances, classes]))
    write_image(tmp_path / 'RGB' / '0000000.png', random_image(0, 12, 16))
    assert run('synthia', tmp_path) == 0
    output = tmp_path / 'GT' / 'LABELS' / '0000000_labelTrainIds.png'
    np.testing.assert_array_equal(read(output), mapped(classes, SYNTHIA_IDS))
    assert (tmp_path / 'sample_class_stats.json').exists() and run('synthia', tmp_path) == 0


def test_synthia_refuses_other_labels(run, tmp_path):
    write_image(tmp_path / 'GT' / 'LABELS' / '0000000.png', random_label(0))
    assert '16-bit PNGs with three channels' in run('synthia', tmp_path)


def cityscapes_ids(root: Path, split: str, name: str, ids: np.ndarray) -> Path:
    write_image(root / 'leftImg8bit' / split / 'city' / f'{name}_leftImg8bit.png', random_image(0, *ids.shape))
    return write_image(root / 'gtFine' / split / 'city' / f'{name}_gtFine_labelIds.png', ids)


def test_cityscapes_from_label_ids(run, tmp_path):
    ids = np.arange(12 * 16).reshape(12, 16).astype(np.uint8) % 34
    cityscapes_ids(tmp_path, 'train', 'city_000000_000001', ids)
    cityscapes_ids(tmp_path, 'val', 'city_000000_000002', ids)
    assert run('cityscapes', tmp_path) == 0
    for split, number in (('train', 1), ('val', 2)):
        output = tmp_path / 'gtFine' / split / 'city' / f'city_000000_00000{number}_gtFine_labelTrainIds.png'
        np.testing.assert_array_equal(read(output), mapped(ids, GTA_IDS))
        assert (tmp_path / f'{split}.txt').read_text() == f'city/city_000000_00000{number}\n'
    stats = json.loads((tmp_path / 'sample_class_stats.json').read_text())
    assert len(stats) == 1 and '/train/' in stats[0]['file']  # val is not counted
    assert run('cityscapes', tmp_path) == 0


def square(label: str, left: int, right: int, **extra: object) -> dict:
    return dict(extra, label=label, polygon=[[left, 2], [right, 2], [right, 9], [left, 9]])


def test_cityscapes_from_polygons(run, tmp_path):
    objects = [square('road', 0, 15), square('car', 2, 5), square('persongroup', 6, 7), square('polegroup', 8, 9),
               square('license plate', 2, 3), square('sky', 10, 11, deleted=1), square('static', 12, 13)]
    path = tmp_path / 'gtFine' / 'train' / 'city' / 'city_000000_000001_gtFine_polygons.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(dict(imgHeight=12, imgWidth=16, objects=objects)))
    assert run('cityscapes', tmp_path) == 0
    label = read(path.parent / 'city_000000_000001_gtFine_labelTrainIds.png')
    row = [0, 0, 13, 13, 13, 13, 11, 11, 255, 255, 0, 0, 255, 255, 0, 0]
    assert label.shape == (12, 16) and label[5].tolist() == row
    assert (label[:2] == 255).all() and (label[10:] == 255).all()


def test_cityscapes_prefers_label_ids(run, tmp_path):
    ids = np.full((12, 16), 26, np.uint8)
    path = cityscapes_ids(tmp_path, 'train', 'city_000000_000001', ids)
    path.with_name(path.name.replace('labelIds.png', 'polygons.json')).write_text('{}')
    assert run('cityscapes', tmp_path) == 0
    assert (read(path.with_name(path.name.replace('labelIds', 'labelTrainIds'))) == 13).all()


@pytest.mark.parametrize('text', ['{', '{}', '{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "car"}]}'])
def test_damaged_polygons(run, tmp_path, text):
    path = tmp_path / 'gtFine' / 'train' / 'city' / 'a_gtFine_polygons.json'
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert 'a_gtFine_polygons.json is no polygon file' in run('cityscapes', tmp_path)


def acdc(root: Path) -> None:
    for number, condition in enumerate(('fog', 'night', 'rain', 'snow')):
        for split in ('train', 'val', 'train_ref'):
            name = f'GOPR{number}/GOPR{number}_frame_000001'
            write_image(root / 'rgb_anon' / condition / split / f'{name}_rgb_anon.png', random_image(number))
            write_image(root / 'gt' / condition / split / f'{name}_gt_labelTrainIds.png', random_label(number))


def test_acdc(run, tmp_path):
    acdc(tmp_path)
    assert run('acdc', tmp_path) == run('acdc', tmp_path) == 0
    config = Config.fromfile(TOOLS.parents[1] / 'configs/_base_/datasets/cityscapes2acdc-512x512.py')
    for part in (config.train_dataloader.dataset.target, config.val_dataloader.dataset):
        assert len(list((tmp_path / part.data_prefix.img_path).rglob('*.png'))) == 4
    assert len(list((tmp_path / 'gt' / 'val').rglob('*_gt_labelTrainIds.png'))) == 4
    assert (tmp_path / 'rgb_anon' / 'fog' / 'train').exists()  # the originals stay
    assert not (tmp_path / 'rgb_anon' / 'train_ref').exists()


def test_acdc_does_not_overwrite(run, tmp_path):
    acdc(tmp_path)
    write_image(tmp_path / 'rgb_anon' / 'train' / 'GOPR0' / 'GOPR0_frame_000001_rgb_anon.png', random_image(99))
    assert 'exists and differs' in run('acdc', tmp_path)


def test_acdc_names_two_files_for_one_place(run, tmp_path):
    acdc(tmp_path)
    write_image(tmp_path / 'rgb_anon' / 'snow' / 'train' / 'GOPR0' / 'GOPR0_frame_000001_rgb_anon.png', random_image(1))
    assert 'would both become' in run('acdc', tmp_path)


def test_dark_zurich(run, tmp_path):
    image, label = random_image(0), random_label(0)
    write_image(tmp_path / 'zips/Dark_Zurich_train_anon/rgb_anon/train/night/GOPR1/a_rgb_anon.png', image)
    write_image(tmp_path / 'zips/Dark_Zurich_val_anon/rgb_anon/val/night/GOPR2/b_rgb_anon.png', image)
    write_image(tmp_path / 'zips/Dark_Zurich_val_anon/gt/val/night/GOPR2/b_gt_labelTrainIds.png', label)
    out = tmp_path / 'dark_zurich'
    assert run('dark_zurich', out, tmp_path / 'zips') == run('dark_zurich', out, tmp_path / 'zips') == 0
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob('*.png'))
    assert found == ['gt/val/night/GOPR2/b_gt_labelTrainIds.png', 'rgb_anon/train/night/GOPR1/a_rgb_anon.png',
                     'rgb_anon/val/night/GOPR2/b_rgb_anon.png']
    assert run('dark_zurich', out) == 0  # arranged already


@pytest.mark.parametrize('name', ['gta', 'synthia', 'cityscapes', 'acdc', 'dark_zurich'])
def test_folder_without_the_dataset(run, tmp_path, name):
    message = run(name, tmp_path)
    assert message.startswith(f'{name}: no file') and str(tmp_path) in message


def test_statistics_of_a_label_folder(run, tmp_path):
    root = write_folder(tmp_path, 3)
    assert run('rare_class_stats', '--labels', root / 'labels', '--out', root) == 0
    assert UDADataset(folder_config(root), rare_class_sampling=dict(min_pixels=0))[0]


def test_statistics_of_a_config(run, tmp_path):
    root = write_folder(tmp_path / 'source', 3)
    config = Config(dict(train_dataloader=dict(dataset=dict(type='UDADataset', source=folder_config(root)))))
    config.dump(tmp_path / 'config.py')
    assert run('rare_class_stats', tmp_path / 'config.py') == 0
    assert UDADataset(folder_config(root), rare_class_sampling=dict(min_pixels=0))[0]
    write_image(root / 'labels' / '001.png', np.full((24, 40), 9, np.uint8))
    assert 'labels/001.png has [9]' in run('rare_class_stats', tmp_path / 'config.py')


def test_command_in_the_error_message_works(run, tmp_path):
    root = write_folder(tmp_path / 'my data', 2)
    with pytest.raises(ValueError, match='rare_class_stats.py') as error:
        UDADataset(folder_config(root), rare_class_sampling=dict(min_pixels=0))
    command = shlex.split(str(error.value).split('Compute them once with: ')[1])
    assert run(Path(command[1]).stem, *command[2:]) == 0
    assert UDADataset(folder_config(root), rare_class_sampling=dict(min_pixels=0))[0]


def test_nproc_must_be_positive(run, tmp_path):
    gta(tmp_path)
    assert '--nproc 0' in run('gta', tmp_path, nproc=0)
