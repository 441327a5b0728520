"""Repeated, joined and balanced datasets: their samples, faults and rare classes are those of what they hold."""
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from tiny_datasets import folder_config, random_crops, random_image, write_folder, write_image

from mmseg_cicld.datasets import DataFileError, UDADataset, audit_dataset, audit_train_datasets
from mmseg_cicld.datasets.class_statistics import count_files, label_files, write_statistics
from mmseg_cicld.datasets.file_reading import read_label
from mmseg_cicld.datasets.label_audit import build_without_pipeline
from mmseg_cicld.datasets.uda_dataset import DrawKey
from mmseg_cicld.datasets.wrapped_datasets import original, parts

RARE = dict(min_pixels=5, class_temp=0.1, min_crop_ratio=0.2)


@pytest.fixture
def roots(tmp_path):
    """Two folders whose files have the same names."""
    return write_folder(tmp_path / 'a', 3), write_folder(tmp_path / 'b', 2, seed=7)


def joined(*roots, **kwargs) -> dict:
    return dict(type='ConcatDataset', datasets=[folder_config(root, **kwargs) for root in roots])


def repeated(inner: dict, times: int = 2) -> dict:
    return dict(type='RepeatDataset', times=times, dataset=inner)


def write_stats(config: dict, place) -> None:
    write_statistics(count_files(label_files(build_without_pipeline(config, 'source')), 1), str(place))


def test_samples_are_found_in_what_is_wrapped(roots):
    a, b = roots
    dataset = DATASETS.build(repeated(joined(a, b), 3))
    found = [original(dataset, i) for i in range(len(dataset))]
    names = [part.get_data_info(place)['img_path'] for part, place in found]
    expected = [str(root / 'images' / f'{i:03}.png') for root, count in ((a, 3), (b, 2)) for i in range(count)] * 3
    assert names == expected and [part.data_root for part in parts(dataset)] == [str(a), str(b)]


@pytest.mark.parametrize('wrap, times', [
    (lambda a, b: repeated(folder_config(a)), [2, 2, 2]),
    (lambda a, b: joined(a, a), [2, 2, 2]),
    (lambda a, b: joined(a, a, b), [2, 2, 2, 1, 1]),
    (lambda a, b: repeated(joined(a, b), 3), [3] * 5),
    (lambda a, b: joined(a, b), [1] * 5)], ids=['repeat', 'twice', 'twice and other', 'repeat joined', 'joined'])
def test_rare_classes_of_wrapped_datasets(roots, wrap, times):
    config = wrap(*roots)
    write_stats(config, roots[0])
    dataset = UDADataset(config, rare_class_sampling=RARE)
    rare = dataset.rare_classes
    labels = [dataset.source.data_info(i)['seg_map_path'] for i in range(len(dataset))]
    assert len(labels) == sum(times)
    read = {path: read_label(path) for path in labels}
    for class_id, indices in zip(rare.classes.tolist(), rare.files):
        # Every index of a file with the class, so files that are repeated are drawn more often.
        assert sorted(indices.tolist()) == [i for i, path in enumerate(labels) if (read[path] == class_id).sum() > 5]
    totals = np.array([sum((read[path] == class_id).sum() for path in labels) for class_id in rare.classes])
    weights = np.exp((1 - totals / sum((read[path] < 3).sum() for path in labels)) / 0.1)
    np.testing.assert_allclose(rare.probabilities, weights / weights.sum())
    assert dataset[DrawKey(1, 5)]['source']['data_samples'].seg_map_path in labels


def test_the_tool_counts_a_repeated_file_once(roots, run, tmp_path):
    Config(dict(train_dataloader=dict(dataset=dict(type='UDADataset', source=joined(roots[0], *roots))))).dump(
        tmp_path / 'config.py')
    assert run('rare_class_stats', tmp_path / 'config.py', '--out', tmp_path) == 0
    dataset = UDADataset(joined(roots[0], *roots), rare_class_sampling=dict(
        RARE, stats=str(tmp_path / 'sample_class_stats.json')))
    assert len(dataset) == 8 and dataset[DrawKey(0, 1)]


def test_missing_statistics_of_several_folders_are_counted_by_the_config(roots):
    with pytest.raises(ValueError, match='Compute them once with: python .*rare_class_stats.py CONFIG$'):
        UDADataset(joined(*roots), rare_class_sampling=RARE)
    with pytest.raises(ValueError, match='Compute them once with: python .*rare_class_stats.py CONFIG$'):
        UDADataset(folder_config(roots[0], reduce_zero_label=True), rare_class_sampling=RARE)


@pytest.mark.parametrize('wrap', [lambda a, b: repeated(folder_config(b)), lambda a, b: joined(a, b)])
def test_faults_in_wrapped_datasets_are_named(roots, wrap):
    (roots[1] / 'images' / '001.png').write_bytes(b'')
    config = Config(dict(train_dataloader=dict(dataset=wrap(*roots))))
    with pytest.raises(ValueError, match='b/images/001.png is empty'):
        audit_train_datasets(config)
    dataset = UDADataset(wrap(*roots))
    with pytest.raises(DataFileError, match='source dataset: image .*b/images/001.png is empty'):
        for position in range(len(dataset)):
            dataset[position]


def test_a_missing_folder_inside_a_wrapper_is_named(roots, tmp_path):
    inner = dict(type='CityscapesDataset', data_root=str(tmp_path / 'none'), data_prefix=dict(img_path='images'))
    with pytest.raises(ValueError, match='the source dataset reads images from .*none/images.*no folder'):
        UDADataset(repeated(inner))


def test_second_crops_of_a_wrapped_dataset_are_cut_from_the_same_file(roots):
    plain = UDADataset(folder_config(roots[0], pipeline=random_crops()))
    wrapped = UDADataset(repeated(folder_config(roots[0], pipeline=random_crops()), 1))
    for position in range(4):
        left, right = plain[DrawKey(3, position)]['source'], wrapped[DrawKey(3, position)]['source']
        assert left['inputs'].equal(right['inputs'])


def test_each_part_is_audited_as_its_own_pipeline_loads(roots):
    a, b = roots
    for i in range(2):
        write_image(b / 'images' / f'{i:03}.png', random_image(i).astype(np.uint16) << 4)
    config = joined(a, b)
    assert [finding.kind for finding in audit_dataset(DATASETS.build(config)).findings] == ['few bits'] * 2
    config['datasets'][1]['pipeline'][0] = dict(type='LoadImageStrictly', value_range=(0, 4095))
    assert audit_dataset(DATASETS.build(config)).ok
