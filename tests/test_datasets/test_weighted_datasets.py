"""Several datasets as one source or target: shares, own classes, rare classes, scores of each."""
import importlib.util
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, METRICS
from shell_commands import ROOT
from tiny_datasets import CLASSES, folder_config, random_crops, random_label, write_folder, write_image

from mmseg_cicld.datasets.class_statistics import count_files, label_files, write_statistics
from mmseg_cicld.datasets.domain import build_dataset
from mmseg_cicld.datasets.label_audit import audit_train_datasets
from mmseg_cicld.datasets.rare_class_sampling import RareClassSampling, class_probabilities
from mmseg_cicld.datasets.uda_dataset import DrawKey

OTHER = ('pedestrian', 'street', 'car', 'cloud')
TO_OURS = {'street': 'road', 'cloud': None}


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('many')
    first, second = write_folder(folder / 'first', 6), write_folder(folder / 'second', 3, seed=20)
    for place in range(3):
        write_image(second / 'labels' / f'{place:03}.png', random_label(70 + place, num_classes=4))
    return first, second, write_folder(folder / 'third', 2, seed=50, height=30)


def joined(roots, **kwargs) -> dict:
    first, second, _ = roots
    other = folder_config(second, pipeline=random_crops())
    other['metainfo'] = dict(classes=list(OTHER))
    return dict(type='WeightedConcatDataset', classes=list(CLASSES), class_maps=[None, TO_OURS],
                datasets=[folder_config(first, pipeline=random_crops()), other], **kwargs)


def paired(roots, **kwargs):
    target = dict(type='WeightedConcatDataset', weights=[1, 3],
                  datasets=[folder_config(roots[place], labelled=False, pipeline=random_crops(labelled=False))
                            for place in (1, 2)])
    return DATASETS.build(dict(type='UDADataset', source=joined(roots, weights=[1, 2]), target=target, **kwargs))


def folders(dataset, domain: str, count: int = 300) -> dict[str, float]:
    """Share of the draws from each folder."""
    names = [dataset[DrawKey(2, position)][domain]['data_samples'].img_path.split('/')[-3] for position in range(count)]
    return {name: names.count(name) / count for name in set(names)}


def test_draws_follow_the_weights(roots):
    dataset = paired(roots)
    assert folders(dataset, 'source') == pytest.approx(dict(first=1 / 3, second=2 / 3), abs=0.07)
    assert folders(dataset, 'target') == pytest.approx(dict(second=1 / 4, third=3 / 4), abs=0.07)


def test_without_weights_every_image_is_as_likely(roots):
    assert build_dataset(joined(roots), 'source').shares.tolist() == pytest.approx([6 / 9, 3 / 9])


def test_a_key_alone_decides(roots):
    dataset, fresh = paired(roots), paired(roots)
    expected = [fresh[DrawKey(3, position)] for position in reversed(range(8))][::-1]
    for position, item in enumerate(expected):
        again = dataset[DrawKey(3, position)]
        assert all(torch.equal(again[domain]['inputs'], item[domain]['inputs']) for domain in item)


def test_classes_of_each_dataset_become_ours(roots):
    dataset = build_dataset(joined(roots), 'source')
    assert tuple(dataset.metainfo['classes']) == CLASSES
    for part, table in zip(dataset.datasets, ({0: 0, 1: 1, 2: 2}, {0: 255, 1: 0, 2: 1, 3: 255})):
        steps = DATASETS.build(folder_config(part.data_root)).pipeline
        for place in range(len(part)):
            info = part.get_data_info(place)
            loaded = steps(dict(info))['data_samples'].gt_sem_seg.data[0].numpy()
            own = cv2.imread(info['seg_map_path'], cv2.IMREAD_UNCHANGED)
            assert (loaded == np.vectorize(lambda number: table.get(number, 255))(own)).all()


def test_rare_classes_over_all_datasets(roots):
    dataset = build_dataset(joined(roots, weights=[1, 2]), 'source')
    for part in dataset.datasets:
        write_statistics(count_files(label_files(part), 1), part.data_root)
    sampling = RareClassSampling.of_dataset(dataset, min_pixels=0, class_temp=0.2)
    counts = [[np.zeros(3), 0] for _ in dataset.datasets]
    for total, part in zip(counts, dataset.datasets):
        for entry in json.loads((roots[0].parent / part.data_root / 'sample_class_stats.json').read_text()):
            total[0] += [entry.get(str(number), 0) for number in range(3)]
            total[1] += 1
    (first, n_first), (second, n_second) = counts
    pixels = first / n_first / 3 + second / n_second * 2 / 3
    classes, probabilities = class_probabilities(dict(enumerate(pixels)), 0.2)
    assert sampling.classes.tolist() == classes.tolist()
    np.testing.assert_allclose(sampling.probabilities, probabilities, rtol=1e-12)
    generator = np.random.default_rng(0)
    drawn = [sampling.draw(generator) for _ in range(3000)]
    sign = [index for class_id, index in drawn if class_id == 2]
    assert sign and max(sign) < 6  # only the first dataset has signs
    car = np.array([index for class_id, index in drawn if class_id == 1])
    with_car = [place for place in range(9) if place in set(sampling.files[sampling.classes.tolist().index(1)].tolist())]
    weight = {place: 1 / 18 if place < 6 else 2 / 9 for place in with_car}
    share = sum(weight[place] for place in with_car if place >= 6) / sum(weight.values())
    assert (car >= 6).mean() == pytest.approx(share, abs=0.06)


def test_rare_class_statistics_of_each_dataset(roots, tmp_path, monkeypatch, capsys):
    init_default_scope('mmseg')
    config = Config(dict(train_dataloader=dict(dataset=dict(type='UDADataset', source=joined(roots)))))
    config.dump(tmp_path / 'joined.py')
    spec = importlib.util.spec_from_file_location('stats', ROOT / 'tools/dataset_converters/rare_class_stats.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr('sys.argv', ['stats', str(tmp_path / 'joined.py'), '--nproc', '1'])
    tool.main()
    assert capsys.readouterr().out.count('statistics of 6') == 1
    entries = json.loads((roots[1] / 'sample_class_stats.json').read_text())
    assert len(entries) == 3 and {key for entry in entries for key in entry} <= {'0', '1', 'file'}
    paired(roots, rare_class_sampling=dict(min_pixels=1, class_temp=0.1, min_crop_ratio=0))[DrawKey(0, 1)]
    monkeypatch.setattr('sys.argv', ['stats', str(tmp_path / 'joined.py'), '--out', str(tmp_path)])
    with pytest.raises(ValueError, match='leave --out out'):
        tool.main()


def test_audit_looks_into_each_dataset(roots, tmp_path):
    broken = write_folder(tmp_path / 'broken', 2)
    write_image(broken / 'labels' / '001.png', np.full((24, 40), 9, np.uint8))
    source = dict(type='WeightedConcatDataset', datasets=[folder_config(roots[0]), folder_config(broken)])
    loader = dict(dataset=dict(type='UDADataset', source=source), sampler=dict(type='KeyedInfiniteSampler'))
    with pytest.raises(ValueError, match=r'broken/labels/001.png has the ids \[9\]'):
        audit_train_datasets(dict(train_dataloader=loader))


@pytest.mark.parametrize('change, words', [
    (dict(weights=[1]), '2 datasets but 1 weights'),
    (dict(weights=[1, 0]), 'all must be above 0'),
    (dict(class_maps=[None, {'bus': 'car'}]), r"class_maps.1 .*'bus'.* its own classes"),
    (dict(class_maps=[None, {'cloud': 'sky'}]), r"class_maps.1 .*'sky'.*classes that are trained"),
])
def test_refused(roots, change, words):
    with pytest.raises(ValueError, match=words):
        build_dataset({**joined(roots), **change}, 'source')


def test_one_file_of_statistics_for_several_datasets_is_refused(roots):
    with pytest.raises(ValueError, match='rare_class_sampling.stats names one file'):
        RareClassSampling.of_dataset(build_dataset(joined(roots), 'source'), stats='x.json')


def samples(folder: str, count: int, seed: int) -> list[dict]:
    generator = np.random.default_rng(seed)
    return [dict(img_path=f'data/{folder}/images/{place}.png',
                 pred_sem_seg=dict(data=torch.from_numpy(generator.integers(0, 3, (1, 8, 8)))),
                 gt_sem_seg=dict(data=torch.from_numpy(generator.integers(0, 3, (1, 8, 8))))) for place in range(count)]


def scores(data: list[dict], **config) -> dict:
    metric = METRICS.build(dict(iou_metrics=['mIoU'], **config))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, data)
    return metric.evaluate(len(data))


def test_scores_of_each_domain(roots):
    init_default_scope('mmseg')
    night, fog = samples('night', 3, 0), samples('fog', 2, 1)
    found = scores([night[0], *fog, *night[1:]], type='DomainIoUMetric', domains=dict(night='data/night', fog='data/fog/'))
    alone = {name: scores(data, type='IoUMetric') for name, data in dict(night=night, fog=fog).items()}
    for name, expected in alone.items():
        assert {key: found[f'{name}/{key}'] for key in expected} == expected
    assert {key: found[key] for key in alone['fog']} == scores([*night, *fog], type='IoUMetric')
    assert found['mean_mIoU'] == pytest.approx((alone['night']['mIoU'] + alone['fog']['mIoU']) / 2, abs=0.006)


@pytest.mark.parametrize('domains, words', [
    (dict(), 'domains of DomainIoUMetric is empty'),
    (dict(night='data/day'), 'is in none of the folders'),
    (dict(night='data', all='data/night'), 'is in several of the folders'),
    (dict(night='data/night', fog='data/fog'), 'no image of val_dataloader is in data/fog/'),
])
def test_domains_that_do_not_fit(domains, words):
    init_default_scope('mmseg')
    with pytest.raises(ValueError, match=words):
        scores(samples('night', 1, 0), type='DomainIoUMetric', domains=domains)
