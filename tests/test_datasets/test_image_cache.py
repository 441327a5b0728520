"""A cache gives the samples of the files, goes on after a stop, and is refused when it is not of these files."""
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from mmseg.registry import DATASETS
from test_sample_reading import IMAGE, LABEL, MARGINS, PIPELINES, RARE, unlabelled
from test_uda_dataset import same
from tiny_datasets import folder_config, random_image, write_folder, write_image
from torch.utils.data import DataLoader

from mmseg_cicld.datasets.class_statistics import count_files, write_statistics
from mmseg_cicld.datasets.file_reading import DataFileError
from mmseg_cicld.datasets.uda_dataset import DrawKey

TOOL = Path(__file__).parents[2] / 'tools' / 'dataset_converters' / 'cache_dataset.py'


def write_domains(folder: Path, count: int = 4) -> dict:
    """Config of a pair of domains, of which the target has margins without pseudo-labels."""
    source = write_folder(folder / 'source', count)
    write_statistics(count_files([dict(seg_map_path=str(path)) for path in sorted((source / 'labels').iterdir())], 1),
                     str(source))
    target = write_folder(folder / 'target', 3, seed=50, height=30)
    steps = PIPELINES['resized']
    return dict(type='UDADataset', source=folder_config(source, pipeline=[IMAGE, LABEL, *steps]),
                target=folder_config(target, labelled=False, pipeline=[IMAGE, MARGINS, *unlabelled(steps)]))


def write_config(folder: Path, dataset: dict) -> Path:
    config = folder / 'config.py'
    config.write_text(f'train_dataloader = dict(dataset={dataset!r})')
    return config


@pytest.fixture
def domains(tmp_path):
    return write_domains(tmp_path)


@pytest.fixture
def cache(tmp_path, run):
    """Makes a cache of a dataset config; gives the exit status or message."""
    def make(dataset: dict, *options: object) -> object:
        return run('cache_dataset', write_config(tmp_path, dataset), '--out', tmp_path / 'cache', *options)
    return make


def assert_equal_samples(dataset: dict, cache: Path, count: int = 8) -> None:
    plain, cached = DATASETS.build(dataset), DATASETS.build(dict(dataset, cache=str(cache)))
    assert all(same(plain[DrawKey(2, i)], cached[DrawKey(2, i)]) for i in range(count))


@pytest.mark.parametrize('name, rare', [('resized', RARE), ('shrunk', None), ('random_scale', RARE), ('as_stored', None),
                                        ('smaller_than_the_crop', RARE), ('rotated', RARE)])
def test_samples_are_those_of_the_files(tmp_path, domains, cache, name, rare):
    domains['source']['pipeline'] = [IMAGE, LABEL, *PIPELINES[name]]
    domains['target']['pipeline'] = [IMAGE, MARGINS, *unlabelled(PIPELINES[name])]
    assert cache(domains) == 0
    assert_equal_samples(dict(domains, rare_class_sampling=rare), tmp_path / 'cache', 5)


def test_files_are_not_decoded(tmp_path, domains, cache):
    assert cache(domains) == 0
    expected = DATASETS.build(domains)[DrawKey(0, 0)]
    dataset = DATASETS.build(dict(domains, cache=str(tmp_path / 'cache')))
    for path in tmp_path.glob('*/images/*.png'):
        path.write_bytes(b'spoilt')
    assert same(dataset[DrawKey(0, 0)], expected)


def test_several_workers_and_processes_that_are_spawned(tmp_path, domains, cache):
    assert cache(domains) == 0
    dataset = DATASETS.build(dict(domains, cache=str(tmp_path / 'cache')))
    keys = [DrawKey(2, position) for position in range(6)]
    loader = DataLoader(dataset, batch_size=2, sampler=keys, num_workers=2, collate_fn=lambda items: items)
    plain = DATASETS.build(domains)
    drawn = [item for batch in loader for item in batch]
    assert all(same(item, plain[key]) for item, key in zip(drawn, keys, strict=True))
    assert same(pickle.loads(pickle.dumps(dataset))[keys[3]], plain[keys[3]])  # as a spawned worker gets it


def test_joined_and_unlabelled_datasets(tmp_path, domains, cache):
    first = domains['source']
    second = folder_config(write_folder(tmp_path / 'second', 2, seed=9), pipeline=first['pipeline'])
    joined = dict(domains, source=dict(type='WeightedConcatDataset', datasets=[first, second], weights=[1, 1]))
    assert cache(joined) == 0
    assert_equal_samples(joined, tmp_path / 'cache')
    images = dict(type='UnlabelledDataset', source=first, target=domains['target'])
    assert cache(images) == 0
    assert_equal_samples(images, tmp_path / 'cache')


def test_shards_make_the_whole(tmp_path, cache, capsys, monkeypatch):
    monkeypatch.setattr('mmseg_cicld.datasets.image_cache.CHUNK', 2)
    domains = write_domains(tmp_path, count=7)
    assert cache(domains, '--shard', 0, 2) == 0
    with pytest.raises(ValueError, match=r'has no chunk 000002.*cache_dataset.py CONFIG --out'):
        DATASETS.build(dict(domains, cache=str(tmp_path / 'cache')))
    first = sorted(path.name for path in (tmp_path / 'cache' / 'source' / '0').glob('*.bin'))
    assert first == ['000000.bin', '000004.bin']
    assert cache(domains, '--shard', 1, 2) == 0
    assert 'source 0: 3 of 3 samples made' in capsys.readouterr().out
    assert_equal_samples(domains, tmp_path / 'cache')
    with pytest.raises(ValueError, match='--shard 2 2: the first must be'):
        cache(domains, '--shard', 2, 2)


def test_a_killed_program_goes_on(tmp_path, cache):
    domains = write_domains(tmp_path, count=1)
    for i in range(1, 1300):
        os.link(tmp_path / 'source' / 'images' / '000.png', tmp_path / 'source' / 'images' / f'{i:04}.png')
        os.link(tmp_path / 'source' / 'labels' / '000.png', tmp_path / 'source' / 'labels' / f'{i:04}.png')
    config, folder = write_config(tmp_path, domains), tmp_path / 'cache' / 'source' / '0'
    process = subprocess.Popen([sys.executable, TOOL, config, '--out', tmp_path / 'cache', '--nproc', '1'],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(folder.glob('*.json')) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.glob('*.json')}
    (folder / '.001024.bin.1.tmp').write_bytes(b'left over')
    assert before and cache(domains) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert len(list(folder.glob('*.json'))) == 6 and not list(folder.glob('.*.tmp'))
    assert_equal_samples(domains, tmp_path / 'cache', 4)


@pytest.mark.parametrize('change', ['content', 'time', 'label', 'another_file'])
def test_changed_files_are_refused_and_made_again(tmp_path, domains, cache, change):
    assert cache(domains) == 0
    path = tmp_path / 'source' / ('labels' if change == 'label' else 'images') / '002.png'
    if change in ('content', 'label'):
        path.write_bytes((path.parent / '001.png').read_bytes() + b' ')
    elif change == 'time':
        os.utime(path, ns=(1, 1))
    else:
        write_image(tmp_path / 'source' / 'images' / '0015.png', random_image(3))
        write_image(tmp_path / 'source' / 'labels' / '0015.png', random_image(3)[..., 0] // 100)
    with pytest.raises(ValueError, match=r'is stale: \w+/[0-9]+.png is not the file it was made of.*--out .*cache') as error:
        DATASETS.build(dict(domains, cache=str(tmp_path / 'cache')))
    assert '\n' not in str(error.value)
    assert cache(domains) == 0
    assert_equal_samples(domains, tmp_path / 'cache')


@pytest.mark.parametrize('change', ['size', 'colour', 'zero', 'labels'])
def test_other_settings_are_refused(tmp_path, domains, cache, change):
    assert cache(domains) == 0
    source = domains['source']
    if change == 'size':
        source['pipeline'] = [IMAGE, LABEL, dict(type='Resize', scale=(50, 40), keep_ratio=True), *source['pipeline'][3:]]
    elif change == 'colour':
        source['pipeline'] = [dict(IMAGE, color_type='grayscale'), *source['pipeline'][1:]]
    elif change == 'zero':
        source['reduce_zero_label'] = domains['target']['reduce_zero_label'] = True
    else:
        source['metainfo'] = domains['target']['metainfo'] = dict(classes=['road', 'sign', 'car'])
        source['pipeline'] = [IMAGE, dict(type='LoadAnnotations'), *source['pipeline'][2:]]
    with pytest.raises(ValueError, match='was made by other steps'):
        DATASETS.build(dict(domains, cache=str(tmp_path / 'cache')))


def test_crop_size_and_flips_may_change(tmp_path, domains, cache):
    assert cache(domains) == 0
    domains['source']['pipeline'] = [*domains['source']['pipeline'][:3], dict(type='RandomCrop', crop_size=(8, 12)),
                                     dict(type='PackUDAInputs')]
    assert_equal_samples(domains, tmp_path / 'cache')


def test_damaged_caches_are_refused(tmp_path, domains, cache):
    assert cache(domains) == 0
    folder, config = tmp_path / 'cache' / 'target' / '0', dict(domains, cache=str(tmp_path / 'cache'))
    dataset = DATASETS.build(config)
    numbers = (folder / '000000.bin').read_bytes()
    (folder / '000000.bin').write_bytes(numbers[:-1])
    with pytest.raises(ValueError, match='000000 of 3 samples and'):
        DATASETS.build(config)
    (folder / '000000.bin').unlink()
    with pytest.raises(DataFileError, match='000000.bin of the cache cannot be mapped'):
        dataset[DrawKey(0, 0)]
    (folder / '000000.bin').write_bytes(numbers)
    description = (folder / '000000.json').read_text()
    (folder / '000000.json').write_text(description[:-9])
    with pytest.raises(ValueError, match='damaged 000000.json'):
        DATASETS.build(config)
    assert cache(domains) == 0 and json.loads((folder / '000000.json').read_text()) == json.loads(description)


def test_what_cannot_be_cached_is_said(tmp_path, domains, cache):
    domains['source']['pipeline'] = [IMAGE, LABEL, dict(type='PhotoMetricDistortion'), *domains['source']['pipeline'][3:]]
    assert 'cannot be cached: a pipeline must load its image' in str(cache(domains))
    with pytest.raises(ValueError, match='is a FolderDataset: a cache serves UDADataset'):
        cache(domains['target'])


def test_one_program_makes_a_shard(tmp_path, domains, cache):
    (tmp_path / 'cache').mkdir()
    with FileLock(tmp_path / 'cache' / '.shard-0-of-1.lock'):
        with pytest.raises(ValueError, match='another program is making shard 0 of 1'):
            cache(domains)
    assert cache(domains) == 0


def test_a_full_disk_is_seen_before(tmp_path, domains, cache, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda path: type('Usage', (), dict(free=1000)))
    with pytest.raises(ValueError, match='its disk has 0.0 GiB'):
        cache(domains)
