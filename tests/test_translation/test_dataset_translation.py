"""A translated dataset takes the place of its source, whatever happens while it is made."""
import errno
import json
import multiprocessing
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_diffusion import tiny_diffusion
from tiny_translation import CLASSES, SIZE, contents, write_config, write_segmentor, write_source

from mmseg_cicld.datasets import DataFileError, DrawKey, UDADataset
from mmseg_cicld.datasets.file_reading import read_image, read_label
from mmseg_cicld.engine import CheckpointError
from mmseg_cicld.engine.folder_lock import locked_folder
from mmseg_cicld.translation import TranslationError, translate_dataset
from mmseg_cicld.translation.run_settings import RunSettings


def translate(config: dict, output: Path) -> Path:
    return translate_dataset(config, output, report=lambda line: None)


def images(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name.startswith('images/')}


@pytest.mark.parametrize('labels', ['symlink', 'hardlink', 'copy'])
def test_config_of_the_source_trains_on_the_output(tmp_path, labels):
    config = write_config(tmp_path, labels=labels)
    (tmp_path / 'source/classes.txt').write_text('\n'.join(CLASSES))
    config['source']['metainfo'] = {}
    before = contents(tmp_path / 'source')
    assert translate(config, tmp_path / 'out') == tmp_path / 'out'
    after = contents(tmp_path / 'out')
    assert contents(tmp_path / 'source') == before
    for name, data in before.items():
        assert (data == after[name]) == (not name.startswith('images/')), name
    label, original = (tmp_path / part / 'labels/town/000.png' for part in ('out', 'source'))
    assert label.is_symlink() == (labels == 'symlink') and label.samefile(original) == (labels != 'copy')
    pipeline = [dict(type=name) for name in ('LoadImageStrictly', 'LoadLabelStrictly', 'PackUDAInputs')]
    dataset = UDADataset(dict(config['source'], data_root=str(tmp_path / 'out'), pipeline=pipeline),
                         rare_class_sampling=dict(min_pixels=16, min_crop_ratio=0))
    sample = dataset[DrawKey(0, 1)]['source']
    assert Path(sample['data_samples'].img_path).is_relative_to(tmp_path / 'out')
    assert dataset.metainfo['classes'] == list(CLASSES)


def test_images_keep_their_size_and_depend_on_name_seed_and_model_alone(tmp_path):
    size = (18, 25)  # not what the network takes
    config = write_config(tmp_path, count=3, size=(20, 28), batch_size=1)
    for kind in ('images', 'labels'):
        for path in (tmp_path / 'source' / kind).rglob('*.png'):
            path.write_bytes(cv2.imencode('.png', cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:size[0], :size[1]])[1])
    first = images(translate(config, tmp_path / 'first'))
    assert read_image(str(tmp_path / 'first/images/town/000.png')).shape == (*size, 3)
    (tmp_path / 'source/images/town/000.png').unlink()
    second = images(translate(config, tmp_path / 'second'))
    assert second == {name: data for name, data in first.items() if name in second} and len(second) == 2
    assert images(translate(dict(config, seed=1), tmp_path / 'third')) != second
    # The same picture under another name gets other noise.
    for kind in ('images', 'labels'):
        folder = tmp_path / 'source' / kind / 'town'
        (folder / '000.png').write_bytes((folder / '001.png').read_bytes())
    fourth = images(translate(config, tmp_path / 'fourth'))
    assert fourth['images/town/000.png'] != fourth['images/town/001.png'] == first['images/town/001.png']


@pytest.mark.parametrize('changes', [dict(tile=dict(size=(8, 16), overlap=4)), dict(working_size=(8, 12)),
                                     dict(dtype='bfloat16')])
def test_tiles_sizes_and_number_formats_change_what_is_written(tmp_path, changes):
    config = write_config(tmp_path, count=2)
    plain, other = (images(translate(config | more, tmp_path / name)) for name, more in (('a', {}), ('b', changes)))
    assert all(plain[name] != other[name] for name in plain)
    assert read_image(str(tmp_path / 'b/images/town/000.png')).shape == (*SIZE, 3)


def test_images_far_larger_than_the_model_knows_are_refused(tmp_path):
    config = write_config(tmp_path, count=1)
    model = tiny_diffusion()
    model.unet.register_to_config(sample_size=(6, 16))
    model.save_folder(tmp_path / 'diffusion')
    with pytest.raises(TranslationError, match=r'000.png has 16 x 24 pixels .* trained with 6 x 16: set tile=dict'):
        translate(config, tmp_path / 'out')
    translate(config | dict(working_size=(12, 24)), tmp_path / 'shrunk')
    translate(config | dict(tile=dict(size=(6, 16), overlap=2)), tmp_path / 'cut')
    translate(config | dict(tile=dict(size=SIZE, overlap=0)), tmp_path / 'asked for')


def test_guide_and_latents_are_used(tmp_path):
    config = write_config(tmp_path, count=1)
    tiny_diffusion(latent=True).save_folder(tmp_path / 'latent')
    guided = dict(segmentor=write_segmentor(tmp_path / 'guide'), guidance=dict(local_scale=2., global_scale=2.))
    results = [images(translate(config | more, tmp_path / f'out{index}')) for index, more in enumerate(
        ({}, guided, dict(diffusion=str(tmp_path / 'latent')), guided | dict(diffusion=str(tmp_path / 'latent'))))]
    assert len({data for result in results for data in result.values()}) == 4


def test_filter_masks_and_drops_and_the_statistics_follow(tmp_path):
    # The judge mixes up red and green. Shares of red in the images: none, a quarter, a quarter, three quarters.
    judge = write_segmentor(tmp_path / 'judge', order=(1, 0, 2))
    config = write_config(tmp_path, count=4)
    source = tmp_path / 'source'
    for index, red_rows in enumerate((0, 4, 4, 12)):
        label = np.full(SIZE, 2, np.uint8)
        label[:red_rows], label[:, :2] = 0, 255
        image = np.where(label[..., None] == [2, 1, 0], 255, 0)
        for kind, pixels in (('labels', label), ('images', image)):
            (source / f'{kind}/town/{index:03}.png').write_bytes(cv2.imencode('.png', pixels.astype(np.uint8))[1])
    before = contents(source)
    config |= dict(translation=dict(level=0.01, steps=1), quality_filter=dict(
        segmentor=judge, region_agreement=0.5, image_agreement=0.5))
    out = translate(config, tmp_path / 'out')
    assert contents(source) == before
    records = {record['name']: record for record in json.loads((out / 'translation/images.json').read_text())}
    kept = [name for name, record in records.items() if not record['dropped']]
    assert sorted(images(out)) == sorted(kept) and not records['images/town/000.png']['dropped']
    assert records['images/town/003.png']['dropped'] and not (out / 'labels/town/003.png').exists()
    assert (out / 'labels/town/000.png').is_symlink()  # nothing was masked
    stats = {entry['file']: entry for entry in json.loads((out / 'sample_class_stats.json').read_text())}
    assert sorted(stats) == sorted(name.replace('images', 'labels') for name in kept)
    masked = []
    for name in kept:
        label_name = name.replace('images', 'labels')
        old, new = (read_label(str(folder / label_name)) for folder in (source, out))
        assert ((new == old) | (new == 255)).all() and (new != 0).all()
        assert {k: v for k, v in stats[label_name].items() if k != 'file'} == {
            str(c): int((new == c).sum()) for c in range(3) if (new == c).any()}
        assert records[name]['masked'] == (new != old).sum()
        masked.append(records[name]['masked'])
    assert masked == [0, 4 * 22, 4 * 22]


def test_list_of_files_comes_along_without_dropped_images(tmp_path):
    config = write_config(tmp_path, count=3)
    (tmp_path / 'source/train.txt').write_text('town/002\ntown/000\n')
    config['source'] = dict(type='BaseSegDataset', data_root=str(tmp_path / 'source'), ann_file='train.txt',
                            img_suffix='.png', metainfo=dict(classes=CLASSES),
                            data_prefix=dict(img_path='images', seg_map_path='labels'))
    out = translate(config, tmp_path / 'out')
    assert sorted(images(out)) == ['images/town/000.png', 'images/town/002.png']
    assert (out / 'train.txt').read_text() == 'town/002\ntown/000\n'
    low = write_segmentor(tmp_path / 'judge')
    (tmp_path / 'source/labels/town/002.png').write_bytes(cv2.imencode('.png', np.full(SIZE, 1, np.uint8))[1])
    (tmp_path / 'source/images/town/002.png').write_bytes(cv2.imencode('.png', np.full((*SIZE, 3), 90, np.uint8))[1])
    out = translate(config | dict(translation=dict(level=0.01, steps=1), quality_filter=dict(
        segmentor=low, image_agreement=0.8)), tmp_path / 'filtered')
    assert (out / 'train.txt').read_text() == 'town/000\n' and sorted(images(out)) == ['images/town/000.png']


def test_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    judge = write_segmentor(tmp_path / 'judge', order=(1, 0, 2))
    config = write_config(tmp_path, quality_filter=dict(segmentor=judge, pixel_confidence=0), report=dict(rows=2))
    whole = contents(translate(config, tmp_path / 'whole'))
    out, sync, calls = tmp_path / 'out', os.fsync, []

    def full_disk(descriptor):
        calls.append(descriptor)
        if len(calls) == 9:
            raise OSError(errno.ENOSPC, 'No space left on device')
        sync(descriptor)
    monkeypatch.setattr(os, 'fsync', full_disk)
    with pytest.raises(TranslationError, match='cannot be written: the disk is full. What was finished .* stays'):
        translate(config, out)
    stopped = contents(out)
    written = [name for name in stopped if not name.startswith('translation/')]
    assert 0 < len(written) < 10 and not [name for name in stopped if name.endswith('.tmp')]
    assert all(stopped[name] == whole[name] for name in written)
    monkeypatch.undo()
    times = {name: (out / name).stat().st_mtime_ns for name in written}
    records = [name for name in stopped if 'records' in name]
    finished = {name.removeprefix('translation/records/').removesuffix('.json') for name in records}
    (out / 'images/town/.000.png.77.tmp').write_bytes(b'half an ima')  # of a killed process
    translate(config, out)
    assert contents(out) == whole
    assert {name for name in times if (out / name).stat().st_mtime_ns == times[name]} >= finished
    # What is finished stays; what somebody took away comes back.
    (out / 'images/town/003.png').unlink()
    before = {name: (out / name).stat().st_mtime_ns for name in images(out)}
    translate(config, out)
    assert contents(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before


def test_other_settings_and_other_weights_are_refused(tmp_path):
    config = write_config(tmp_path, count=2, segmentor=write_segmentor(tmp_path / 'guide'), guidance=dict())
    out = translate(config, tmp_path / 'out')
    translate(config | dict(batch_size=1), out)  # how the work is done may change

    def refused(match, **changes):
        with pytest.raises(TranslationError, match=match):
            translate(config | changes, out)
    refused('translated with other settings .translation.level: there 0.5, asked for 0.25.',
            translation=dict(level=0.25, steps=2))
    refused(r'labels: there symlink, asked for copy.*another --output', labels='copy')
    tiny_diffusion(seed=1).save_folder(tmp_path / 'diffusion')
    refused('diffusion: there')
    tiny_diffusion().save_folder(tmp_path / 'diffusion')
    translate(config, out)
    write_segmentor(tmp_path / 'guide', order=(0, 2, 1))
    refused('segmentor.checkpoint: there')
    write_segmentor(tmp_path / 'guide')
    for kind in ('images', 'labels'):
        (tmp_path / f'source/{kind}/town/009.png').write_bytes((tmp_path / f'source/{kind}/town/000.png').read_bytes())
    refused('images.count: there 2, asked for 3')


def test_folders_that_are_not_for_this_are_refused(tmp_path):
    config = write_config(tmp_path, count=1)
    for output in (tmp_path / 'source', tmp_path / 'source/out', tmp_path):
        with pytest.raises(TranslationError, match='lie in each other'):
            translate(config, output)
    (tmp_path / 'link').symlink_to(tmp_path / 'source')
    with pytest.raises(TranslationError, match='lie in each other'):
        translate(config, tmp_path / 'link')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').touch()
    with pytest.raises(TranslationError, match='holds files that no translation wrote'):
        translate(config, tmp_path / 'mine')
    assert os.listdir(tmp_path / 'mine') == ['thesis.txt']
    out = translate(config, tmp_path / 'out')
    (out / 'images/town/zebra.png').write_bytes((out / 'images/town/000.png').read_bytes())
    (out / 'labels/town/zebra.png').write_bytes((out / 'labels/town/000.png').read_bytes())
    with pytest.raises(TranslationError, match='finds 2 images, but 1 were written: .*zebra'):
        translate(config, out)


def test_two_launches_cannot_write_at_once(tmp_path, monkeypatch):
    config, out = write_config(tmp_path, count=1), tmp_path / 'out'
    fork = multiprocessing.get_context('fork')
    held = fork.SimpleQueue()
    holder = fork.Process(target=hold, args=(out / 'translation', held))
    holder.start()
    held.get()
    with pytest.raises(CheckpointError, match=f'running.lock: is held by process {holder.pid} on '):
        translate(config, out)
    holder.kill()
    holder.join()
    assert contents(out) == {}
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(TranslationError, match='torchrun has started 2 processes.*add --launcher pytorch'):
        translate(config, out)
    monkeypatch.undo()
    translate(config, out)


def test_a_disk_that_is_full_from_the_start_is_named(tmp_path):
    config = write_config(tmp_path, count=1)
    (tmp_path / 'out/translation').mkdir(parents=True)
    (tmp_path / 'out/translation/running.txt').symlink_to('/dev/full')  # refuses every byte
    with pytest.raises(CheckpointError, match='running.txt: cannot be written .*make room'):
        translate(config, tmp_path / 'out')


def hold(folder: Path, held) -> None:
    with locked_folder(folder):
        held.put(True)
        time.sleep(60)


@pytest.mark.parametrize('change, match', [
    (lambda c, t: c.pop('guidance'), 'the config lacks guidance'),
    (lambda c, t: c.update(batchsize=3), "the key 'batchsize', which nothing reads: is 'batch_size' meant"),
    (lambda c, t: c.update(guidance={}), 'set both, or both to None'),
    (lambda c, t: c.update(labels='move'), "labels='move': allowed are 'symlink'"),
    (lambda c, t: c.update(batch_size=0), 'batch_size=0'),
    (lambda c, t: c.update(working_size=(0, 3)), r'working_size=\(0, 3\)'),
    (lambda c, t: c.update(tile=dict(size=(7, 8), overlap=2)), 'multiples of 2: change tile.size'),
    (lambda c, t: c.update(tile=dict(overlap=2)), "tile={'overlap': 2}: .*missing.*size"),
    (lambda c, t: c.update(tile=dict(size=(8, 8), overlp=2)), 'tile has no overlp'),
    (lambda c, t: c.update(translation=dict(level=2)), 'translation.level is 2'),
    (lambda c, t: c.update(report=dict(features={})), 'report.features and report.target, or neither'),
    (lambda c, t: c['source'].update(data_root=str(t / 'nowhere')), 'source: .*nowhere'),
    (lambda c, t: c['source'].pop('data_root'), 'source has no data_root'),
    (lambda c, t: c['source']['data_prefix'].pop('seg_map_path'), 'has no label. Labels guide the translation'),
    (lambda c, t: c['source']['data_prefix'].update(seg_map_path=str(t / 'elsewhere')), 'elsewhere'),
    (lambda c, t: (t / 'source/labels/town/001.png').unlink(), '1 of 2 images have no label'),
    (lambda c, t: c.update(segmentor=write_segmentor(t / 'g', 4, (0, 1, 2, 0)), guidance={}),
     'segmentor predicts 4 classes, the labels of the source dataset have 3'),
])
def test_what_cannot_work_is_said_before_anything_is_written(tmp_path, change, match):
    config = write_config(tmp_path, count=2)
    change(config, tmp_path)
    with pytest.raises(TranslationError, match=match):
        translate(config, tmp_path / 'out')
    assert not images(tmp_path / 'out')


def test_a_pixel_is_a_size_to_work_at(tmp_path):
    config = write_config(tmp_path, working_size=(1, 1))
    assert RunSettings.from_config(config).working_size == (1, 1)


def test_labels_outside_the_classes_stop_with_their_name(tmp_path):
    config = write_config(tmp_path, count=40, size=(4, 4))
    for index in (0, 20):  # the first is among those that are looked at before, the second may not be
        path = tmp_path / f'source/labels/town/{index:03}.png'
        kept = path.read_bytes()
        path.write_bytes(cv2.imencode('.png', np.full((4, 4), 7, np.uint8))[1])
        with pytest.raises((TranslationError, DataFileError), match=rf'{index:03}.png.* ids \[7\]'):
            translate(config, tmp_path / 'out')
        path.write_bytes(kept)


def test_damaged_networks_are_named(tmp_path):
    config = write_config(tmp_path, count=1, segmentor=write_segmentor(tmp_path / 'guide'), guidance={})
    (tmp_path / 'guide/colours.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match='colours.pth: is empty'):
        translate(config, tmp_path / 'out')


def test_everything_dropped_is_an_error(tmp_path):
    config = write_config(tmp_path, count=2, quality_filter=dict(
        segmentor=write_segmentor(tmp_path / 'judge', order=(1, 2, 0)), image_agreement=1.))
    with pytest.raises(TranslationError, match='dropped every image: lower quality_filter.image_agreement'):
        translate(config, tmp_path / 'out')


def test_source_is_any_dataset_of_mmseg(tmp_path):
    config = write_config(tmp_path, count=1)
    write_source(tmp_path / 'city', 2)
    for kind, prefix, suffix in (('images', 'leftImg8bit', '_leftImg8bit'),
                                 ('labels', 'gtFine', '_gtFine_labelTrainIds')):
        for path in (tmp_path / 'city' / kind / 'town').iterdir():
            place = tmp_path / 'city' / prefix / 'train/town' / f'{path.stem}{suffix}.png'
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    config['source'] = dict(type='CityscapesDataset', data_root=str(tmp_path / 'city'), data_prefix=dict(
        img_path='leftImg8bit/train', seg_map_path='gtFine/train'))
    out = translate(config, tmp_path / 'out')
    assert sorted(name for name in contents(out) if name.endswith('.png')) == [
        *(f'gtFine/train/town/00{i}_gtFine_labelTrainIds.png' for i in range(2)),
        *(f'leftImg8bit/train/town/00{i}_leftImg8bit.png' for i in range(2))]
