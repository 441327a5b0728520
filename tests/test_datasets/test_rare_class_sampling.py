"""Rare class sampling: probabilities, which files, which crops, and what is refused."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.registry import DATASETS
from tiny_datasets import CLASSES, folder_config, random_crops, random_image, write_folder, write_image

from mmseg_cicld.datasets.class_statistics import count_files, write_statistics
from mmseg_cicld.datasets.rare_class_sampling import RareClassSampling, class_probabilities, match_files
from mmseg_cicld.datasets.uda_dataset import MAX_RECROPS, DrawKey, UDADataset
from mmseg_cicld.random_streams import KeyedStreams

PARITY = Path(__file__).parents[1] / 'data' / 'parity' / 'F_units.npz'


def test_golden_vector():
    classes, probabilities = class_probabilities({0: 900, 1: 90, 2: 10}, 0.1)
    assert classes.tolist() == [2, 1, 0]
    np.testing.assert_allclose(probabilities, [0.689910, 0.309996, 0.000094], atol=5e-7)
    np.testing.assert_allclose(class_probabilities({0: 900, 1: 90, 2: 10}, np.inf)[1], [1 / 3] * 3)


@pytest.mark.parametrize('case', range(4))
def test_probabilities_of_the_published_implementation(case):
    fixture = np.load(PARITY)
    counts = fixture[f'in/rcs{case}.pixel_counts'].sum(axis=0)
    temperature = float(fixture[f'in/rcs{case}.temperature'])
    classes, probabilities = class_probabilities(dict(enumerate(counts.tolist())), temperature)
    assert classes.tolist() == fixture[f'f32/rcs{case}.classes'].tolist()
    np.testing.assert_allclose(probabilities, fixture[f'f64/rcs{case}.prob'], rtol=1e-6)
    np.testing.assert_allclose(probabilities, fixture[f'f32/rcs{case}.prob'], rtol=1e-4)


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(0, 10**10), min_size=1, max_size=30).filter(any),
       temperature=st.floats(1e-3, 1e3))
def test_probability_properties(counts, temperature):
    classes, probabilities = class_probabilities(dict(enumerate(counts)), temperature)
    assert set(classes.tolist()) == {i for i, count in enumerate(counts) if count}  # an absent class is never drawn
    assert np.isfinite(probabilities).all() and abs(probabilities.sum() - 1) < 1e-9
    assert (np.diff(probabilities) <= 1e-12).all()  # the rarer, the likelier


def stats(*counts: dict) -> list[dict]:
    return [{**{str(k): v for k, v in entry.items()}, 'file': f'{i}.png'} for i, entry in enumerate(counts)]


def test_files_need_more_than_min_pixels():
    sampling = RareClassSampling(stats({0: 100, 1: 10}, {0: 100, 1: 11}), [4, 7], CLASSES, min_pixels=10,
                                 class_temp=np.inf)
    drawn = {sampling.draw(np.random.default_rng(seed)) for seed in range(60)}
    assert drawn == {(0, 4), (0, 7), (1, 7)}


def test_draws_follow_the_probabilities():
    sampling = RareClassSampling(stats({0: 900, 1: 90, 2: 10}), [0], CLASSES, min_pixels=0, class_temp=0.5)
    generator = np.random.default_rng(0)
    drawn = np.array([sampling.draw(generator)[0] for _ in range(4000)])
    share = [(drawn == class_id).mean() for class_id in sampling.classes]
    np.testing.assert_allclose(share, sampling.probabilities, atol=0.03)


def test_enough_is_strict():
    sampling = RareClassSampling(stats({0: 100}), [0], CLASSES, min_pixels=20, min_crop_ratio=0.5)
    assert not sampling.enough(10) and sampling.enough(11) and not sampling.enough(torch.tensor(10))
    assert RareClassSampling(stats({0: 100}), [0], CLASSES, min_pixels=20, min_crop_ratio=0).enough(0)


@pytest.mark.parametrize('settings_, words', [
    (dict(min_pixels=50), r"min_pixels=50 .*'car': 10.*below 10"),
    (dict(min_pixels=-1), 'must be 0 or more'),
    (dict(class_temp=0), 'above 0'),
    (dict(min_crop_ratio=-1), 'must be 0 or more'),
])
def test_bad_settings(settings_, words):
    with pytest.raises(ValueError, match=words):
        RareClassSampling(stats({0: 100, 1: 10}), [0], CLASSES, **dict(dict(min_pixels=0), **settings_))


def test_statistics_of_unconverted_labels_are_refused():
    with pytest.raises(ValueError, match=r'ids \[7\].*not converted'):
        RareClassSampling(stats({0: 100, 7: 50}), [0], CLASSES)


def test_match_files_by_name_and_folder():
    labels = ['/new/a/x.png', '/new/b/x.png', '/new/c/y.png', '/new/a/z_1.png', '/other/a/w.png', '/new/a/w.png']
    wanted = ['old/b/x.png', 'old/a/x.png', 'q/y.png', 'old/none.png', 'C:\\data\\b\\x.png', 'd/x.png', 'a/w.png']
    assert match_files(wanted, labels) == [1, 0, 2, None, 1, None, None]


@pytest.fixture
def source(tmp_path):
    root = write_folder(tmp_path / 'source', 4)
    write(root)
    return root


def write(root: Path) -> None:
    infos = [dict(seg_map_path=str(path)) for path in sorted((root / 'labels').glob('*.png'))]
    write_statistics(count_files(infos, 1), str(root))


def build(root: Path, **kwargs) -> UDADataset:
    return UDADataset(folder_config(root, pipeline=random_crops()), rare_class_sampling=dict(min_pixels=5, **kwargs))


def test_missing_statistics_are_refused_with_the_command(source):
    (source / 'sample_class_stats.json').unlink()
    with pytest.raises(ValueError, match=r'python tools/dataset_converters/rare_class_stats.py --labels .*labels'):
        build(source)


def test_statistics_with_other_files_are_refused(source):
    (source / 'labels' / '002.png').unlink()
    (source / 'images' / '002.png').unlink()
    with pytest.raises(ValueError, match='does not have: .*002.png.*rare_class_stats.py'):
        build(source)


def test_statistics_without_new_files_are_refused(source):
    write_image(source / 'images' / '009.png', random_image(1))
    write_image(source / 'labels' / '009.png', np.zeros((24, 40), np.uint8))
    with pytest.raises(ValueError, match='lacks files .*009.png'):
        build(source)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"a": 1}', '[1]', '[{"0": 5}]'])
def test_damaged_statistics_are_refused(source, text):
    (source / 'sample_class_stats.json').write_text(text)
    with pytest.raises(ValueError, match='sample_class_stats.json .*rare_class_stats.py'):
        build(source)


def test_statistics_may_lie_elsewhere_and_the_data_may_move(source, tmp_path):
    (source / 'sample_class_stats.json').rename(tmp_path / 'other.json')
    moved = source.rename(tmp_path / 'moved')
    assert build(moved, stats=str(tmp_path / 'other.json'))[DrawKey(0, 0)]


def test_drawn_sample_has_the_drawn_class(source):
    dataset = build(source, class_temp=0.1, min_crop_ratio=0.2)
    for position in range(20):
        label = dataset[DrawKey(2, position)]['source']['data_samples'].gt_sem_seg.data
        class_id, _ = dataset.rare_classes.draw(np.random.default_rng(_class_seed(2, position)))
        assert (label == class_id).sum() > 1


def _class_seed(seed: int, position: int) -> int:
    return KeyedStreams(seed).integer('data.rare_class', position)


def recording(source: Path, **kwargs) -> tuple[UDADataset, list[str]]:
    """A dataset that keeps the file of every augmented load in a list."""
    loads: list[str] = []

    def record(results: dict) -> dict:
        loads.append(results['img_path'])
        return results
    steps = random_crops()
    config = folder_config(source, pipeline=[*steps[:3], record, *steps[3:]])
    return UDADataset(config, rare_class_sampling=dict(min_pixels=5, **kwargs)), loads


def test_crop_without_enough_is_drawn_again_from_the_same_file(source):
    dataset, loads = recording(source, min_crop_ratio=1e6)  # never enough: the last crop is used as it is
    item = dataset[DrawKey(0, 1)]
    assert len(loads) == MAX_RECROPS + 1 == 11
    assert set(loads) == {item['source']['data_samples'].metainfo['img_path']}


def test_first_good_crop_is_taken(source):
    dataset, loads = recording(source, min_crop_ratio=0)
    dataset[DrawKey(0, 1)]
    assert len(loads) == 1


def test_recrops_differ(source):
    # Never enough, so the crop of the last attempt comes out; it is not the crop of the first.
    first = build(source, min_crop_ratio=0)
    last = build(source, min_crop_ratio=1e6)
    assert any(not torch.equal(first[DrawKey(0, p)]['source']['inputs'], last[DrawKey(0, p)]['source']['inputs'])
               for p in range(4))


def test_second_crop_is_cut_from_the_unchanged_image(source):
    """A transform that writes into the image must not change what the next crop is cut from."""
    def black(results: dict) -> dict:
        results['img'][:] = 0
        return results
    steps = random_crops()
    seen = []
    config = folder_config(source, pipeline=[*steps[:3], lambda r: seen.append(r['img'].sum()) or r, black, *steps[3:]])
    UDADataset(config, rare_class_sampling=dict(min_pixels=5, min_crop_ratio=1e6))[DrawKey(0, 1)]
    assert len(seen) == 11 and min(seen) > 0


def test_class_that_no_label_shows_is_never_drawn(source):
    for path in (source / 'labels').glob('*.png'):
        write_image(path, np.full((24, 40), 1, np.uint8))
    write(source)
    dataset = build(source)
    assert dataset.rare_classes.classes.tolist() == [1]
    assert dataset[DrawKey(0, 0)]['source']['data_samples'].gt_sem_seg.data.unique().tolist() == [1]


def test_written_files(source):
    entries = json.loads((source / 'sample_class_stats.json').read_text())
    by_file = json.loads((source / 'sample_class_stats_dict.json').read_text())
    by_class = json.loads((source / 'samples_with_class.json').read_text())
    for entry in entries:
        label = cv2.imread(entry['file'], cv2.IMREAD_UNCHANGED)
        counted = {k: v for k, v in entry.items() if k != 'file'}
        assert counted == {str(c): int((label == c).sum()) for c in range(3) if (label == c).any()}
        assert by_file[entry['file']] == counted
        assert all([entry['file'], pixels] in by_class[class_id] for class_id, pixels in counted.items())


def test_rare_classes_with_reduced_zero_label(source):
    """Statistics of labels that are changed on loading count what training sees."""
    config = dict(folder_config(source, pipeline=random_crops()), reduce_zero_label=True,
                  metainfo=dict(classes=['car', 'sign']))
    dataset = DATASETS.build(dict(config, pipeline=[]))
    infos = [dataset.get_data_info(i) for i in range(4)]
    write_statistics(count_files(infos, 1), str(source))
    uda = UDADataset(config, rare_class_sampling=dict(min_pixels=5))
    assert set(uda.rare_classes.classes.tolist()) == {0, 1}
