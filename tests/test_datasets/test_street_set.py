"""The street set: what the pictures promise (perspective, occlusion, classes) and what the files promise."""
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_cicld.datasets.street_set import LOOKS, StreetCounts, TrainId, render_scene, render_street_set
from mmseg_cicld.datasets.street_set.camera import Camera, clip_near
from mmseg_cicld.datasets.street_set.layout import sample_scene
from mmseg_cicld.datasets.street_set.lighting import sample_lighting
from mmseg_cicld.datasets.street_set.renderer import render
from mmseg_cicld.datasets.street_set.scene import Person, Road, Scene, Side, Vehicle, View

SIZE = (128, 64)
COUNTS = StreetCounts(source_train=3, source_val=1, target_train=2, target_val=2)
THINGS = [TrainId.TRAFFIC_LIGHT, TrainId.TRAFFIC_SIGN, TrainId.PERSON, TrainId.RIDER, TrainId.CAR, TrainId.TRUCK,
          TrainId.BUS, TrainId.TRAIN, TrainId.MOTORCYCLE, TrainId.BICYCLE]


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*.png'))}


def _quiet(line: str) -> None:
    del line


@pytest.fixture(scope='module')
def labels() -> dict[str, list[np.ndarray]]:
    """Labels of 40 scenes of each domain."""
    return {domain: [render_scene(domain, seed, SIZE)[1] for seed in range(40)] for domain in LOOKS}


def _empty_street(*items) -> Scene:
    """A straight level road through grass, seen by an untilted camera at a height of 1.5 m."""
    road = Road(half_width=5.0, lane_width=3.5, lanes=1, parking=0.0, curve=0.0, crossing=None, crosswalk=None,
                rails=None)
    sides = tuple(Side(sign, 0.0, 2.0, 9.0, ()) for sign in (-1, 1))
    return Scene(View(0.0, 1.5, 0.0, 0.0, 0.0, 1.0), road, sides, items, bonnet=0.0)


def _person(z: float, x: float = 0.0) -> Person:
    return Person(order=z, x=x, z=z, yaw=0.0, height=1.8, stride=0.0, unit=0.3)


def _label_of(scene: Scene, domain: str = 'source', size: tuple[int, int] = (512, 256)) -> np.ndarray:
    light = sample_lighting(LOOKS[domain], np.random.default_rng(sorted(LOOKS).index(domain)))
    return render(scene, light, size, np.random.default_rng(0))[1]


# What the pictures promise.

@pytest.mark.parametrize('domain', sorted(LOOKS))
def test_same_seed_gives_same_bytes_and_another_seed_another_street(domain):
    first, again, other = (render_scene(domain, seed, SIZE) for seed in (7, 7, 8))
    assert first[0].tobytes() == again[0].tobytes() and first[1].tobytes() == again[1].tobytes()
    assert (first[1] != other[1]).mean() > 0.05


@pytest.mark.parametrize('size', [(256, 128), (128, 64), (97, 65)])
def test_image_and_label_have_the_asked_size_and_valid_values(size):
    for domain in LOOKS:
        image, label = render_scene(domain, 3, size)
        assert image.shape == (size[1], size[0], 3) and image.dtype == np.uint8
        assert label.shape == (size[1], size[0]) and label.dtype == np.uint8
        assert set(np.unique(label)) <= {int(train_id) for train_id in TrainId}


@pytest.mark.parametrize('domain', sorted(LOOKS))
def test_all_classes_occur_at_believable_frequencies(labels, domain):
    counts = np.stack([np.bincount(label.ravel(), minlength=256)[:256] for label in labels[domain]])
    share = counts.sum(axis=0) / counts.sum()
    assert 0.2 < share[TrainId.ROAD] < 0.5
    assert 0.1 < share[TrainId.BUILDING] < 0.35
    assert 0.04 < share[TrainId.SKY] < 0.25
    assert 0.04 < share[TrainId.VEGETATION] < 0.25
    assert 0.02 < share[TrainId.SIDEWALK] < 0.2
    assert 0.03 < share[TrainId.CAR] < 0.25
    rare = [train_id for train_id in range(19) if share[train_id] < 0.0005]
    assert not rare, f'classes below 0.05 % of the pixels: {[TrainId(train_id).name for train_id in rare]}'
    assert share[TrainId.IGNORE] < 0.08


@pytest.mark.parametrize('domain', sorted(LOOKS))
def test_every_thing_class_is_in_a_tenth_of_the_images(labels, domain):
    seen = np.stack([np.bincount(label.ravel(), minlength=256)[:256] >= 10 for label in labels[domain]]).mean(axis=0)
    assert {TrainId(t).name: seen[t] for t in THINGS if seen[t] < 0.1} == {}


def test_labels_mean_the_same_in_both_looks():
    for seed in range(4):
        scene = sample_scene(LOOKS['target'].layout, np.random.default_rng(seed))
        np.testing.assert_array_equal(_label_of(scene, 'source', SIZE), _label_of(scene, 'target', SIZE))


def test_looks_differ_in_colour_and_noise():
    pictures = {domain: np.stack([render_scene(domain, seed, SIZE)[0] for seed in range(12)]).astype(np.float32)
                for domain in LOOKS}
    colourful = {domain: (images.max(-1) - images.min(-1)).mean() for domain, images in pictures.items()}
    assert colourful['source'] > 1.3 * colourful['target']
    dark = {domain: np.percentile(images, 2) for domain, images in pictures.items()}
    assert dark['target'] > dark['source'], 'haze and low contrast lift the darkest pixels of the target'


def test_twice_as_far_is_half_as_tall():
    heights = {}
    for z in (8.0, 16.0, 32.0):
        rows = np.flatnonzero((_label_of(_empty_street(_person(z))) == TrainId.PERSON).any(axis=1))
        heights[z] = rows[-1] - rows[0] + 1
    assert heights[8.0] / heights[16.0] == pytest.approx(2.0, rel=0.06)
    assert heights[16.0] / heights[32.0] == pytest.approx(2.0, rel=0.12)


def test_eye_height_is_on_the_horizon_at_every_distance():
    camera = Camera(512, 256, 500.0, (0.0, 1.5, 0.0))
    pixels, depth = camera.project(np.array([[-3.0, 1.5, z] for z in (5.0, 20.0, 80.0)]))
    np.testing.assert_allclose(pixels[:, 1], camera.horizon_row)
    np.testing.assert_allclose(depth, [5.0, 20.0, 80.0])


@pytest.mark.parametrize('pitch', [-0.05, 0.0, 0.08])
def test_horizon_row_is_where_far_ground_ends(pitch):
    camera = Camera(512, 256, 500.0, (0.5, 1.4, 0.0), pitch=pitch, yaw=0.03)
    assert camera.horizon_row == pytest.approx(128 - 500 * np.tan(pitch))
    far, _ = camera.project(np.array([[0.0, 0.0, 1e6]]))
    assert far[0, 1] == pytest.approx(camera.horizon_row, abs=0.01)


def test_rays_invert_the_projection():
    camera = Camera(64, 32, 60.0, (1.0, 1.5, 2.0), pitch=0.1, yaw=-0.2, roll=0.05)
    points = np.array(camera.position) + 7.0 * camera.rays[20, 40].astype(np.float64)
    pixels, depth = camera.project(points[None])
    np.testing.assert_allclose(pixels[0], [40.5, 20.5], atol=1e-3)
    assert depth[0] == pytest.approx(7.0, abs=1e-4)


def test_polygons_are_cut_at_the_near_plane():
    square = np.array([[-1.0, 0, -2.0], [1.0, 0, -2.0], [1.0, 0, 4.0], [-1.0, 0, 4.0]])
    kept = clip_near(square, near=1.0)
    assert kept[:, 2].min() == pytest.approx(1.0) and kept[:, 2].max() == pytest.approx(4.0)
    assert len(clip_near(square - [0, 0, 10.0], near=1.0)) == 0


def test_near_things_hide_far_things():
    bus = Vehicle(order=12.0, kind='bus', x=0.0, z=18.0, yaw=0.0, scale=(1.0, 1.0, 1.0), unit=0.2)
    behind, before = _label_of(_empty_street(bus, _person(40.0))), _label_of(_empty_street(bus, _person(7.0)))
    alone = _label_of(_empty_street(_person(40.0)))
    assert (alone == TrainId.PERSON).any()
    assert not (behind == TrainId.PERSON).any() and (behind == TrainId.BUS).any()
    person = before == TrainId.PERSON
    assert person.any() and (behind[person] == TrainId.BUS).any(), 'the person is painted over the bus'


def test_vehicle_closer_than_the_camera_does_no_harm():
    around = Vehicle(order=-1.0, kind='truck', x=2.0, z=1.0, yaw=0.0, scale=(1.0, 1.0, 1.0), unit=0.2)
    assert _label_of(_empty_street(around)).shape == (256, 512)


# What the files promise.

def test_files_have_the_cityscapes_layout(tmp_path):
    assert render_street_set(tmp_path, COUNTS, SIZE, report=_quiet) == 8
    for domain, split, count in (('source', 'train', 3), ('source', 'val', 1), ('target', 'train', 2),
                                 ('target', 'val', 2)):
        for index in range(count):
            stem = f'street_{index:06d}_000000'
            image = cv2.imread(str(tmp_path / domain / 'leftImg8bit' / split / 'street' / f'{stem}_leftImg8bit.png'))
            label = cv2.imread(str(tmp_path / domain / 'gtFine' / split / 'street' /
                                   f'{stem}_gtFine_labelTrainIds.png'), cv2.IMREAD_UNCHANGED)
            assert image.shape == (64, 128, 3) and label.shape == (64, 128)
    assert len(_files(tmp_path)) == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ['source', 'street_set.json', 'target']
    assert json.loads((tmp_path / 'street_set.json').read_text())['complete'] is True


def test_no_two_images_are_the_same(tmp_path):
    render_street_set(tmp_path, COUNTS, SIZE, report=_quiet)
    images = [content for name, content in _files(tmp_path).items() if 'leftImg8bit' in name]
    assert len(set(images)) == 8


def test_number_of_processes_changes_nothing(tmp_path):
    render_street_set(tmp_path / 'one', COUNTS, SIZE, nproc=1, report=_quiet)
    render_street_set(tmp_path / 'two', COUNTS, SIZE, nproc=2, report=_quiet)
    assert _files(tmp_path / 'one') == _files(tmp_path / 'two')


def test_second_run_keeps_whole_files_and_renders_missing_and_cut_ones(tmp_path):
    render_street_set(tmp_path, COUNTS, SIZE, report=_quiet)
    before = _files(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')}
    assert render_street_set(tmp_path, COUNTS, SIZE, report=_quiet) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')} == stamps
    images = sorted((tmp_path / 'target' / 'leftImg8bit' / 'train').rglob('*.png'))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:-20])
    assert render_street_set(tmp_path, COUNTS, SIZE, report=_quiet) == 2
    assert _files(tmp_path) == before
    assert not list(tmp_path.rglob('*.tmp'))


@pytest.mark.parametrize('change', [dict(seed=5), dict(size=(160, 80)), dict(counts=replace(COUNTS, target_val=3))])
def test_other_parameters_in_the_same_folder_are_refused(tmp_path, change):
    few = dict(counts=COUNTS, size=SIZE, seed=0)
    render_street_set(tmp_path, report=_quiet, **few)
    before = _files(tmp_path)
    with pytest.raises(ValueError, match=next(iter(change))):
        render_street_set(tmp_path, report=_quiet, **(few | change))
    assert _files(tmp_path) == before


def test_foreign_manifest_is_refused(tmp_path):
    (tmp_path / 'street_set.json').write_text('[]')
    with pytest.raises(ValueError, match='not a manifest of the street set'):
        render_street_set(tmp_path, COUNTS, SIZE, report=_quiet)


def test_progress_names_count_and_time(tmp_path):
    lines = []
    render_street_set(tmp_path, StreetCounts(1, 0, 1, 0), SIZE, report=lines.append)
    assert '2 of 2 images to render' in lines[0] and 'complete, 2 images' in lines[-1]


@pytest.mark.parametrize('arguments, message', [
    (dict(nproc=0), 'nproc = 0'), (dict(seed=-1), 'seed = -1'), (dict(counts=StreetCounts(-1)), 'source_train'),
    (dict(size=(16, 16)), 'too small')])
def test_bad_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        render_street_set(tmp_path, **(dict(counts=StreetCounts(1, 0, 0, 0), report=_quiet) | arguments))


def test_unknown_domain_is_named():
    with pytest.raises(ValueError, match="'moon'.*source.*target"):
        render_scene('moon', 0, SIZE)
