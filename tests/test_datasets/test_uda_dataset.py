"""The paired dataset: what it gives, and that a key alone decides it."""
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from tiny_datasets import folder_config, random_crops, write_folder
from torch.utils.data import DataLoader

from mmseg_cicld.datasets.class_statistics import count_files, write_statistics
from mmseg_cicld.datasets.uda_dataset import DrawKey, KeyedOrder, UDADataset
from mmseg_cicld.random_streams import KeyedStreams


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('uda')
    source = write_folder(folder / 'source', 5)
    labels = sorted(str(path) for path in (source / 'labels').iterdir())
    write_statistics(count_files([dict(seg_map_path=path) for path in labels], 1), str(source))
    return source, write_folder(folder / 'target', 3, seed=50, height=30)


def build(roots, **kwargs) -> UDADataset:
    source, target = roots
    return DATASETS.build(dict(
        type='UDADataset',
        source=folder_config(source, pipeline=random_crops()),
        target=folder_config(target, pipeline=random_crops()),
        **kwargs))


def flat(item: dict) -> list:
    """Everything a sample holds, in a form that can be compared."""
    out = []
    for domain in sorted(item):
        sample = item[domain]['data_samples']
        out += [item[domain]['inputs'], *(sample.get(key).data for key in sorted(sample.keys())),
                str(sorted(sample.metainfo.items()))]
    return out


def same(left: dict, right: dict) -> bool:
    pairs = list(zip(flat(left), flat(right), strict=True))
    return all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in pairs)


RARE = dict(min_pixels=10, class_temp=0.1, min_crop_ratio=1.0)


def test_item(roots):
    item = build(roots)[DrawKey(1, 7)]
    assert set(item) == {'source', 'target'}
    for domain in item.values():
        assert domain['inputs'].shape == (3, 16, 16) and domain['inputs'].dtype == torch.uint8
        assert domain['data_samples'].metainfo['img_path'].endswith('.png')
    assert item['source']['data_samples'].gt_sem_seg.data.shape == (1, 16, 16)
    assert item['source']['data_samples'].metainfo['seg_map_path'].endswith('.png')


def test_target_labels_never_leave(roots):
    # The target pipeline of `build` loads labels: they are dropped.
    assert set(build(roots)[0]['target']['data_samples'].keys()) == set()


def test_source_alone(roots):
    dataset = DATASETS.build(dict(type='UDADataset', source=folder_config(roots[0])))
    assert set(dataset[DrawKey(0, 3)]) == {'source'}
    assert len(dataset) == 5 and dataset.metainfo['classes'] == ['road', 'car', 'sign']


def test_index_stands_for_key_of_seed_0(roots):
    dataset = build(roots)
    assert same(dataset[4], dataset[DrawKey(0, 4)])
    assert len(list(dataset)) == 5


@pytest.mark.parametrize('rare', [None, RARE], ids=['plain', 'rare_classes'])
@pytest.mark.parametrize('workers', [0, 2])
def test_key_alone_decides(roots, rare, workers):
    keys = [DrawKey(3, position) for position in range(12)]
    loader = DataLoader(build(roots, rare_class_sampling=rare), batch_size=2, sampler=keys, num_workers=workers,
                        collate_fn=lambda items: items)
    fresh = build(roots, rare_class_sampling=rare)
    random.seed(5), np.random.seed(6), torch.manual_seed(7)
    # Asked for backwards, one at a time, with other global streams.
    expected = {position: fresh[DrawKey(3, position)] for position in reversed(range(12))}
    drawn = [item for batch in loader for item in batch]
    assert all(same(item, expected[position]) for position, item in enumerate(drawn))


def test_seed_and_position_matter(roots):
    dataset = build(roots)
    assert not same(dataset[DrawKey(3, 0)], dataset[DrawKey(4, 0)])
    assert not same(dataset[DrawKey(3, 0)], dataset[DrawKey(3, 5)])


def test_global_streams_are_left_alone(roots):
    dataset = build(roots, rare_class_sampling=RARE)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    dataset[DrawKey(0, 1)]
    assert before == (random.random(), np.random.rand(), torch.rand(1).item())


def test_epoch_shows_every_file_once_in_its_own_order(roots):
    dataset = build(roots)
    names = [[dataset[DrawKey(9, position)][domain]['data_samples'].metainfo['img_path'] for position in range(15)]
             for domain in ('source', 'target')]
    source, target = names
    epochs = [source[i:i + 5] for i in (0, 5, 10)]
    assert all(len(set(epoch)) == 5 for epoch in epochs) and not epochs[0] == epochs[1] == epochs[2]
    assert all(len(set(target[i:i + 3])) == 3 for i in range(0, 15, 3))


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 40), seed=st.integers(0, 10), epoch=st.integers(0, 10**9))
def test_keyed_order_is_a_permutation_in_each_epoch(size, seed, epoch):
    order = KeyedOrder('x', size)
    streams = KeyedStreams(seed)
    places = [order(streams, epoch * size + i) for i in range(size)]
    assert sorted(places) == list(range(size))
    other = KeyedStreams(seed + 1)
    assert order(other, epoch * size) == KeyedOrder('x', size)(other, epoch * size)  # not the order kept for a seed
    assert [order(streams, epoch * size + i) for i in reversed(range(size))] == places[::-1]


def test_collate(roots):
    dataset = build(roots)
    batch = pseudo_collate([dataset[0], dataset[1]])
    assert len(batch['source']['inputs']) == 2 and len(batch['target']['data_samples']) == 2


def test_batch_of_one(roots):
    batch = next(iter(DataLoader(build(roots), batch_size=1, collate_fn=pseudo_collate)))
    assert len(batch['source']['inputs']) == len(batch['target']['inputs']) == 1


def test_concatenated_source(roots):
    source, target = roots
    dataset = DATASETS.build(dict(
        type='UDADataset', target=folder_config(target, labelled=False),
        source=dict(type='ConcatDataset', datasets=[folder_config(source), folder_config(target)])))
    assert len(dataset) == 8 and set(dataset[7]) == {'source', 'target'}


@pytest.mark.parametrize('change, words', [
    (dict(metainfo=dict(classes=['road', 'sign', 'car'])), 'different classes'),
    (dict(ignore_index=0), 'different ignore_index'),
    (dict(reduce_zero_label=True), 'different reduce_zero_label'),
])
def test_contradicting_domains_are_refused(roots, change, words):
    source, target = roots
    with pytest.raises(ValueError, match=words):
        UDADataset(folder_config(source), dict(folder_config(target), **change))


def test_target_without_classes_is_welcome(roots):
    source, target = roots
    dataset = UDADataset(folder_config(source), dict(folder_config(target, labelled=False), metainfo=None))
    assert dataset.metainfo['classes'] == ['road', 'car', 'sign'] and set(dataset[0]) == {'source', 'target'}


def test_source_without_classes_is_refused(roots):
    with pytest.raises(ValueError, match='no classes'):
        UDADataset(dict(folder_config(roots[0]), metainfo=None))
