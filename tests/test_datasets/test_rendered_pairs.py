"""Rendered pairs: what the pictures promise (classes, edges, sizes, what differs) and what the files promise."""
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_cicld.datasets import FolderDataset
from mmseg_cicld.datasets.rendered_pairs import PAIRS, PairCounts, aerial, night, night_lamps, render_pair, tabletop
from mmseg_cicld.datasets.rendered_pairs.aerial_classes import AerialId
from mmseg_cicld.datasets.rendered_pairs.aerial_layout import EXTENT, sample_land
from mmseg_cicld.datasets.rendered_pairs.aerial_scene import Block, Car, House, Land, Tree, Way
from mmseg_cicld.datasets.rendered_pairs.tabletop_patterns import pattern
from mmseg_cicld.datasets.rendered_pairs.tabletop_scene import Tabletop, TabletopId, Thing, sample_tabletop
from mmseg_cicld.datasets.street_set.camera import Camera
from mmseg_cicld.datasets.street_set.layout import sample_scene
from mmseg_cicld.datasets.street_set.lighting import sample_lighting
from mmseg_cicld.datasets.street_set.renderer import paint
from mmseg_cicld.datasets.street_set.scene import Post, Road, Scene, Side, Vehicle, View

COUNTS = PairCounts(source_train=2, target_train=2, target_val=1)
NAMES = sorted(PAIRS)
DOMAINS = ('source', 'target')


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*.png'))}


def _quiet(line: str) -> None:
    del line


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope='module')
def scenes() -> dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]:
    """Images and labels of 16 scenes of each domain of each pair."""
    return {(name, domain): [PAIRS[name].render(domain, seed) for seed in range(16)]
            for name in NAMES for domain in DOMAINS}


# What the pictures promise.

@pytest.mark.parametrize('domain', DOMAINS)
@pytest.mark.parametrize('name', NAMES)
def test_images_and_labels_have_the_size_of_their_domain_and_valid_values(scenes, name, domain):
    width, height = PAIRS[name].sizes[domain]
    for image, label in scenes[name, domain]:
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
        assert label.shape == (height, width) and label.dtype == np.uint8
        assert set(np.unique(label)) <= {*range(len(PAIRS[name].classes)), 255}


@pytest.mark.parametrize('domain', DOMAINS)
@pytest.mark.parametrize('name', NAMES)
def test_every_class_occurs_and_little_is_ignored(scenes, name, domain):
    counts = np.stack([np.bincount(label.ravel(), minlength=256) for _, label in scenes[name, domain]])
    images = dict(zip(PAIRS[name].classes, (counts >= 10).sum(axis=0)))
    assert {cls: number for cls, number in images.items() if number < 2} == {}
    assert counts[:, 255].sum() < 0.03 * counts.sum()
    assert counts.sum(axis=0).max() < 0.5 * counts.sum(), 'no class is half of everything'


@pytest.mark.parametrize('name', NAMES)
def test_one_seed_gives_the_same_bytes_another_seed_or_domain_another_scene(scenes, name):
    for domain in DOMAINS:
        image, label = PAIRS[name].render(domain, 7)
        assert image.tobytes() == scenes[name, domain][7][0].tobytes()
        assert label.tobytes() == scenes[name, domain][7][1].tobytes()
        assert (label != scenes[name, domain][8][1]).mean() > 0.05
    height, width = np.minimum(scenes[name, 'source'][7][1].shape, scenes[name, 'target'][7][1].shape)
    source, target = (scenes[name, domain][7][1][:height, :width] for domain in DOMAINS)
    assert (source != target).mean() > 0.05


@pytest.mark.parametrize('domain', DOMAINS)
@pytest.mark.parametrize('name', NAMES)
def test_edges_of_labels_are_edges_of_images(scenes, name, domain):
    """Images change most where labels do: moved by two or four pixels, labels fit worse in each direction."""
    moves = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2), (4, 4), (-4, -4)]
    strength = dict.fromkeys(moves, 0.0)
    for image, label in scenes[name, domain]:
        steps = [np.abs(np.diff(image.astype(np.float32), axis=axis)).sum(axis=2) for axis in (0, 1)]
        for move in moves:
            moved = np.roll(label, move, axis=(0, 1))
            edges = [np.diff(moved.astype(int), axis=axis) != 0 for axis in (0, 1)]
            inner = np.s_[5:-5, 5:-5]
            strength[move] += sum(step[inner][edge[inner]].sum() / edge[inner].sum() for step, edge in zip(steps, edges))
    assert all(strength[0, 0] > 1.15 * strength[move] for move in moves[1:]), strength


def _lights(looks, seed: int = 0) -> list:
    return [sample_lighting(looks[domain], _rng(seed)) for domain in DOMAINS]


def test_labels_mean_the_same_in_both_domains():
    street = sample_scene(night.NIGHT.layout, _rng(3))
    labels = [night.render_street(street, light, (128, 64), _rng(), _rng())[1] for light in _lights(night.LOOKS)]
    np.testing.assert_array_equal(*labels)
    land = sample_land(aerial.LOOKS['target'].layout, _rng(3))
    labels = [aerial.render_land(land, _above(0.5), light, _rng())[1] for light in _lights(aerial.LOOKS)]
    np.testing.assert_array_equal(*labels)
    table = sample_tabletop(tabletop.LOOKS['target'].layout, 4 / 3, _rng(3))
    labels = [tabletop.render_scene(table, light, (128, 96), _rng())[1] for light in _lights(tabletop.LOOKS)]
    np.testing.assert_array_equal(*labels)


# Night.

def _street(*items) -> Scene:
    """A straight level road through grass, seen by an untilted camera at a height of 1.5 m."""
    road = Road(half_width=5.0, lane_width=3.5, lanes=1, parking=0.0, curve=0.0, crossing=None, crosswalk=None, rails=None)
    sides = tuple(Side(sign, 0.0, 2.0, 9.0, ()) for sign in (-1, 1))
    return Scene(View(0.0, 1.5, 0.0, 0.0, 0.0, 1.0), road, sides, items, bonnet=0.0)


def test_nights_are_dark_and_noisy(scenes):
    grey = {domain: [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) for image, _ in scenes['night', domain]]
            for domain in DOMAINS}
    sky = {domain: np.mean([image[label == 10].mean() for image, (_, label) in zip(grey[domain], scenes['night', domain])])
           for domain in DOMAINS}
    assert sky['target'] < 0.5 * sky['source'] and np.mean(grey['target']) < 0.75 * np.mean(grey['source'])
    rough = {domain: np.mean([np.abs(cv2.Laplacian(image, cv2.CV_32F))[label == 10].mean() for image, (_, label)
                              in zip(grey[domain], scenes['night', domain])]) for domain in DOMAINS}
    assert rough['target'] > 2 * rough['source'], 'noise in the sky'


def test_own_lamps_light_what_is_near_and_street_lamps_what_is_below_them():
    light = sample_lighting(night.NIGHT, _rng())
    gains = {}
    for name, items in {'none': (), 'lamp': (Post(20.0, 'lamp', 3.0, 20.0, -1.0, 0.2),)}.items():
        canvas, _ = paint(_street(*items), light, (128, 64))
        gains[name] = night_lamps.lamp_light(canvas, _street(*items), _rng()).mean(axis=2)
    rows, middle = canvas.depth[::2, 128], 64
    near, far = (int(np.abs(rows - depth).argmin()) for depth in (5.0, 40.0))
    assert gains['none'].min() >= 1
    assert gains['none'][near, middle] > 1.5 * gains['none'][far, middle]
    below = int(np.abs(rows - 20.0).argmin())
    assert gains['lamp'][below, middle] > gains['none'][below, middle] + 0.2
    assert gains['lamp'][below, middle] - gains['none'][below, middle] > gains['lamp'][near, middle] - gains['none'][near, middle]


@pytest.mark.parametrize('yaw, red', [(0.0, True), (np.pi, False)])
def test_vehicles_show_red_lamps_behind_and_white_ones_in_front(yaw, red):
    car = Vehicle(order=9.0, kind='sedan', x=0.0, z=11.0, yaw=yaw, scale=(1.0, 1.0, 1.0), unit=0.2)
    canvas, radiance = paint(_street(car), sample_lighting(night.NIGHT, _rng()), (128, 64))
    image = cv2.resize(radiance, (128, 64), interpolation=cv2.INTER_AREA)
    glare = night_lamps.add_glare(image, canvas, _street(car), _rng()) - image
    blue, _, most = glare.reshape(-1, 3)[glare.sum(axis=2).argmax()]
    assert most > 100 and (blue < 0.5 * most) == red


def test_what_stands_before_a_lamp_hides_it():
    car = Vehicle(order=30.0, kind='sedan', x=0.0, z=32.0, yaw=0.0, scale=(1.0, 1.0, 1.0), unit=0.2)
    bus = Vehicle(order=10.0, kind='bus', x=0.0, z=16.0, yaw=0.0, scale=(1.0, 1.0, 1.0), unit=0.01)  # its lamps are off
    glare = []
    for items in ((car,), (car, bus)):
        canvas, _ = paint(_street(*items), sample_lighting(night.NIGHT, _rng()), (128, 64))
        glare.append(night_lamps.add_glare(np.zeros((64, 128, 3), np.float32), canvas, _street(*items), _rng()).max())
    assert glare[0] > 50 and glare[1] == 0


# Aerial.

def _above(ground_sample: float, size: tuple[int, int] = (128, 128)) -> Camera:
    """A camera 420 m above the middle of the world, at twice the size."""
    return Camera(2 * size[0], 2 * size[1], 840 / ground_sample, (0.0, 420.0, 0.0), np.pi / 2)


def _meadow(**things) -> Land:
    """One block of grass between unpaved ways far outside the picture."""
    ways = (Way(-EXTENT, 3.0, False, 0.0), Way(EXTENT, 3.0, False, 0.0))
    return Land(ways, ways, ((Block('park', (-128.0, 128.0, -128.0, 128.0), 0.0, 0.3),),), None, **things)


@pytest.mark.parametrize('ground_sample', [0.3, 0.6])
def test_things_have_the_size_of_their_ground_sample(ground_sample):
    land = _meadow(cars=[Car(0.0, 0.0, 0.7, 0.0)], houses=[House(9.0, 9.0, 6.0, 4.0, 0.3, 0.0, False, 0.4)])
    label = aerial.render_land(land, _above(ground_sample), _lights(aerial.LOOKS)[0], _rng())[1]
    pixel = ground_sample ** 2
    assert (label == AerialId.CAR).sum() * pixel == pytest.approx(1.84 * 4.3, rel=0.25)
    assert (label == AerialId.BUILDING).sum() * pixel == pytest.approx(12 * 8, abs=40 * ground_sample / 2), 'half a pixel around'
    assert (label == AerialId.LOW_VEGETATION).mean() > 0.9


def test_shadows_fall_away_from_the_sun():
    light = sample_lighting(aerial.LOOKS['source'], _rng(1))
    light = replace(light, to_sun=np.array([0.8, 0.6, 0.0]))  # in the east, right of the picture
    empty, image = (aerial.render_land(land, _above(0.4), light, _rng())[0].astype(np.float32).mean(axis=2)
                    for land in (_meadow(), _meadow(houses=[House(0.0, 0.0, 4.0, 4.0, 0.0, 6.0, False, 0.4)])))
    left, right = np.s_[60:68, 44:52], np.s_[60:68, 76:84]
    assert image[left].mean() < 0.75 * empty[left].mean()
    assert image[right].mean() == pytest.approx(empty[right].mean(), rel=0.03)


def test_crowns_hide_roofs():
    land = _meadow(houses=[House(0.0, 0.0, 6.0, 6.0, 0.0, 4.0, True, 0.4)], trees=[Tree(0.0, 0.0, 3.0, 0.3)])
    label = aerial.render_land(land, _above(0.4), _lights(aerial.LOOKS)[0], _rng())[1]
    assert label[64, 64] == AerialId.TREE and (label == AerialId.BUILDING).any()


def test_the_target_shows_more_land_and_less_green(scenes):
    spans = [PAIRS['aerial'].looks[domain].layout.ground_sample for domain in DOMAINS]
    assert spans[1][0] > spans[0][1]
    green = {domain: np.mean([(image[..., 1] - image[..., 2].astype(np.float32))[label == AerialId.TREE].mean()
                              for image, label in scenes['aerial', domain]]) for domain in DOMAINS}
    assert green['source'] > 15 > 5 > green['target']


# Texture.

def test_shapes_alone_carry_the_class():
    """Two things of one class differ in paint and pattern, and no family of patterns belongs to a domain's classes."""
    looks = PAIRS['texture'].looks
    assert not set(looks['source'].layout.patterns) & set(looks['target'].layout.patterns)
    light = sample_lighting(looks['target'], _rng())
    ball = Thing(TabletopId.BALL, 0.5, 0.9, 0.4, False, 0.3)
    images, labels = zip(*(tabletop.render_scene(Tabletop(0.4, (), (replace(ball, unit=unit),), 0.5), light, (96, 96), _rng())
                           for unit in (0.3, 0.55)))
    np.testing.assert_array_equal(*labels)
    inside = labels[0] == TabletopId.BALL
    assert inside.sum() == pytest.approx(np.pi * (0.2 * 96) ** 2, rel=0.03)
    assert np.abs(images[0].astype(int) - images[1])[inside].mean() > 20


def test_mirrored_mugs_have_their_handle_on_the_other_side():
    mug = Thing(TabletopId.MUG, 0.5, 0.8, 0.4, False, 0.3)
    labels = [tabletop.render_scene(Tabletop(0.4, (), (replace(mug, mirrored=mirrored),), 0.5),
                                    _lights(tabletop.LOOKS)[0], (96, 96), _rng())[1] == TabletopId.MUG
              for mirrored in (False, True)]
    assert (labels[0] != labels[1][:, ::-1]).mean() < 0.01, 'all but edges, where ties go to the left'
    columns = np.flatnonzero(labels[0].any(axis=0))
    assert 48 - columns[0] < columns[-1] - 47, 'the handle is at the right'


def test_surfaces_of_the_target_are_rough(scenes):
    rough = {}
    for domain in DOMAINS:
        steps = []
        for image, label in scenes['texture', domain]:
            inside = cv2.erode((label >= TabletopId.BOTTLE).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            steps.append(np.abs(cv2.Laplacian(image, cv2.CV_32F))[inside].mean())
        rough[domain] = np.mean(steps)
    assert rough['target'] > 1.5 * rough['source']


@pytest.mark.parametrize('family', sorted({family for domain in DOMAINS
                                           for family in PAIRS['texture'].looks[domain].layout.patterns}))
def test_patterns_are_shares_of_two_colours(family):
    x, y = np.meshgrid(np.linspace(-3, 3, 64, dtype=np.float32), np.linspace(0, 6, 64, dtype=np.float32))
    share = pattern(family, x, y, 0.37)
    assert share.shape == x.shape and share.min() >= 0 and share.max() <= 1
    assert family == 'plain' or share.std() > 0.1


# What the files promise.

@pytest.mark.parametrize('name', NAMES)
def test_files_are_read_as_own_data(tmp_path, name):
    assert render_pair(name, tmp_path, PairCounts(1, 1, 1), report=_quiet) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ['classes.json', 'pair.json', 'source', 'target']
    assert json.loads((tmp_path / 'pair.json').read_text())['complete'] is True
    for domain, split in (('source', 'train'), ('target', 'train'), ('target', 'val')):
        prefix = dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}')
        dataset = FolderDataset(str(tmp_path / domain), prefix, dict(classes=str(tmp_path / 'classes.json')), pipeline=[])
        assert len(dataset) == 1 and tuple(dataset.metainfo['classes']) == PAIRS[name].classes
        assert tuple(map(tuple, dataset.metainfo['palette'])) == PAIRS[name].palette
        image, label = (cv2.imread(dataset[0][key], cv2.IMREAD_UNCHANGED) for key in ('img_path', 'seg_map_path'))
        assert image.shape[:2] == label.shape == PAIRS[name].sizes[domain][::-1] and label.ndim == 2


@pytest.mark.parametrize('name', NAMES)
def test_classes_have_names_and_colours_of_their_own(name):
    pair = PAIRS[name]
    assert pair.name == name and len(set(pair.classes)) == len(set(pair.palette)) == len(pair.classes) == len(pair.palette)


def test_number_of_processes_changes_nothing_the_seed_everything(tmp_path):
    for folder, nproc, seed in (('one', 1, 0), ('two', 2, 0), ('other', 1, 1)):
        render_pair('texture', tmp_path / folder, COUNTS, seed, nproc, report=_quiet)
    one, two, other = (_files(tmp_path / folder) for folder in ('one', 'two', 'other'))
    assert len(one) == 10 and one == two
    assert other.keys() == one.keys() and not set(other.values()) & set(one.values())
    assert len({content for path, content in one.items() if 'images' in path}) == 5


def test_second_run_keeps_whole_files_and_renders_missing_and_cut_ones(tmp_path):
    render_pair('texture', tmp_path, COUNTS, report=_quiet)
    before = _files(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')}
    assert render_pair('texture', tmp_path, COUNTS, report=_quiet) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')} == stamps
    (tmp_path / 'target/labels/val/texture_000000.png').unlink()
    cut = tmp_path / 'source/images/train/texture_000001.png'
    cut.write_bytes(cut.read_bytes()[:-20])
    assert render_pair('texture', tmp_path, COUNTS, report=_quiet) == 2
    assert _files(tmp_path) == before and not list(tmp_path.rglob('*.tmp'))


@pytest.mark.parametrize('change', [dict(seed=5), dict(counts=replace(COUNTS, target_val=2)), dict(name='night')])
def test_other_parameters_in_the_same_folder_are_refused(tmp_path, change):
    asked = dict(name='texture', counts=PairCounts(1, 0, 0), seed=0)
    render_pair(out_dir=tmp_path, report=_quiet, **asked)
    before, classes = _files(tmp_path), (tmp_path / 'classes.json').read_bytes()
    with pytest.raises(ValueError, match={'name': 'pair: there texture, asked for night'}.get(*change, next(iter(change)))):
        render_pair(out_dir=tmp_path, report=_quiet, **(asked | change))
    assert _files(tmp_path) == before and (tmp_path / 'classes.json').read_bytes() == classes


@pytest.mark.parametrize('arguments, message', [
    (dict(nproc=0), 'nproc = 0'), (dict(seed=-1), 'seed = -1'), (dict(counts=PairCounts(-1)), 'source_train'),
    (dict(name='moon'), "'moon'.*aerial")])
def test_bad_arguments_are_named_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        render_pair(out_dir=tmp_path, report=_quiet, **(dict(name='texture', counts=PairCounts(1, 0, 0)) | arguments))
    assert not list(tmp_path.iterdir())


def test_program_renders_and_says_what_is_wrong_in_one_line(run, tmp_path, capsys):
    numbers = ('--source-images', 1, '--target-images', 0, '--target-val', 1)
    assert run('render_pair', 'texture', tmp_path / 'pair', *numbers) == 0
    assert sorted(_files(tmp_path / 'pair')) == [
        'source/images/train/texture_000000.png', 'source/labels/train/texture_000000.png',
        'target/images/val/texture_000000.png', 'target/labels/val/texture_000000.png']
    assert 'complete, 2 images' in capsys.readouterr().out
    message = run('render_pair', 'texture', tmp_path / 'pair', *numbers, '--seed', 1)
    assert message.startswith('render_pair: ') and 'seed: there 0, asked for 1' in message and '\n' not in message
    (tmp_path / 'pair' / 'pair.json').write_text('[]')
    assert 'is not a manifest of the rendered pair' in run('render_pair', 'texture', tmp_path / 'pair', *numbers)
    assert run('render_pair', 'moon', tmp_path / 'other', *numbers) == 2
    assert "invalid choice: 'moon'" in capsys.readouterr().err
