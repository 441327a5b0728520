"""The rule: settings from sizes, counts, device and length."""
from dataclasses import replace

import pytest

from mmseg_cicld.adapt.choices import (Facts, ImageSizes, Schedule, Speed, choose, iterations_in, recorded,
                                       split_iterations, teacher_momentum)

STREET = ImageSizes(400, 256, 128, 256 * 128)
GTA, CITYSCAPES = ImageSizes(24966, 1914, 1052, 1914 * 1052), ImageSizes(2975, 2048, 1024, 2048 * 1024)
GPU = 80 * 2**30


def facts(source: ImageSizes = STREET, target: ImageSizes = STREET, device: str = 'cpu', memory: int = 0,
          **changes: object) -> Facts:
    asked = dict(labelled=0, most_pixels={'0': 20000, '1': 300}, cores=2, method='dacs')
    return Facts(source, target, device=device, memory=memory, **asked | changes)


def test_small_images_are_used_whole():
    chosen = choose(facts(), (100, 100))
    assert chosen.crop_size == (128, 256) and chosen.source_scale is None and chosen.target_scale is None
    assert chosen.batch_size == 4


def test_sides_of_small_images_become_multiples_of_32():
    odd = ImageSizes(10, 150, 100, 15000)
    assert choose(facts(odd, odd), (1, 1)).crop_size == (96, 128)
    tiny = ImageSizes(10, 20, 24, 480)
    assert choose(facts(tiny, tiny), (1, 1)).crop_size == (32, 32)


@pytest.mark.parametrize(('device', 'memory', 'side', 'batch'), [('cpu', 0, 256, 4), ('cuda', GPU, 512, 8)])
def test_large_images_are_scaled_to_the_side_of_the_crop(device, memory, side, batch):
    chosen = choose(facts(GTA, CITYSCAPES, device, memory), (1, 1))
    assert chosen.crop_size == (side, side) and chosen.target_scale == (4 * side, side)
    assert chosen.source_scale == (4 * side, side) and chosen.batch_size == batch


def test_source_images_a_little_larger_stay_as_they_are():
    source, target = ImageSizes(9, 340, 180, 340 * 180), STREET
    assert choose(facts(source, target), (1, 1)).source_scale is None
    assert choose(facts(replace(source, width=680, height=360), target), (1, 1)).source_scale == (512, 128)


def test_domains_of_other_size_and_aspect_share_a_crop_that_both_have():
    portrait = ImageSizes(9, 100, 200, 20000)
    chosen = choose(facts(STREET, portrait), (1, 1))
    assert chosen.source_scale is None and chosen.crop_size == (128, 96)
    large = ImageSizes(9, 1000, 4000, 4000000)
    assert choose(facts(STREET, large), (1, 1)).crop_size == (256, 256)


def test_batch_follows_from_the_memory_of_the_gpu():
    sizes = [choose(facts(GTA, CITYSCAPES, 'cuda', gib * 2**30), (1, 1)).batch_size for gib in (1, 8, 80)]
    assert sizes == sorted(sizes) and sizes[0] == 2 and sizes[-1] == 8
    more = choose(facts(GTA, CITYSCAPES, 'cuda', 8 * 2**30, method='dida'), (1, 1)).batch_size
    assert more < choose(facts(GTA, CITYSCAPES, 'cuda', 8 * 2**30), (1, 1)).batch_size


def test_every_class_that_occurs_can_be_drawn():
    assert choose(facts(), (1, 1)).min_pixels == round(0.0015 * 256 * 128)
    assert choose(facts(most_pixels={'0': 900, '3': 7}), (1, 1)).min_pixels == 6
    assert choose(facts(most_pixels={'0': 900, '3': 1}), (1, 1)).min_pixels == 0


def test_rare_classes_of_gta_are_those_of_daformer():
    # 3000 pixels of 1914 x 1052, of which half have to be in a crop at 1280 x 720; here at 931 x 512.
    chosen = choose(facts(GTA, CITYSCAPES, 'cuda', GPU, most_pixels={'0': 10**6}), (1, 1))
    assert chosen.min_pixels == pytest.approx(3000, rel=0.01)
    assert chosen.min_crop_ratio == pytest.approx(0.5 * (512 / 703.5)**2, rel=0.01)


def test_length_sets_momentum_and_intervals():
    assert [teacher_momentum(iterations) for iterations in (10, 2000, 10**6)] == [0.99, 0.995, 0.999]
    schedule = Schedule.of(1000)
    assert (schedule.warm_up, schedule.val_interval, schedule.checkpoint_interval) == (100, 167, 84)
    assert Schedule.of(1) == Schedule(1, 1, 1, 1, 1)


def test_iterations_are_shared_out():
    assert split_iterations(1000, 'dacs') == (400, 600) and split_iterations(2, 'dacs') == (1, 1)
    assert split_iterations(1000, 'source_only') == (1000, 0)


def test_iterations_fit_into_minutes():
    speed = Speed({'0': 0.5, '1': 1.0}, validation=2.0)
    count = iterations_in(600, speed, 'dacs')
    assert 0.4 * count * 0.5 + 0.6 * count * 1.0 + 2 * 6 * 2.0 == pytest.approx(600, rel=0.01)
    assert iterations_in(1, speed, 'dacs') == 2, 'one of each at least'


def test_a_validation_looks_at_part_of_many_images():
    assert choose(facts(labelled=200), (1, 1)).val_every == 1 and choose(facts(labelled=1001), (1, 1)).val_every == 6


def test_settings_survive_a_file():
    chosen = choose(facts(GTA, CITYSCAPES), (2, 3))
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(chosen).items()}
    assert recorded(plain) == chosen
