"""A crop that is drawn first gives the samples of the pipeline step by step, bit for bit."""
import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import DATASETS, TRANSFORMS
from test_uda_dataset import RARE, same
from tiny_datasets import SOURCE_STEPS, folder_config, random_image, random_label, write_folder, write_image

from mmseg_cicld.datasets.class_statistics import count_files, write_statistics
from mmseg_cicld.datasets.file_reading import DataFileError, read_image, read_label
from mmseg_cicld.datasets.png_decoding import png_decoder
from mmseg_cicld.datasets.sample_reading import CropPlan, draw_box
from mmseg_cicld.datasets.uda_dataset import DrawKey, UDADataset

IMAGE, LABEL = SOURCE_STEPS
RESIZE = dict(type='Resize', scale=(60, 40), keep_ratio=True)
SHRINK = dict(type='Resize', scale=(20, 12), keep_ratio=False)
RANDOM_RESIZE = dict(type='RandomResize', scale=(120, 40), ratio_range=(0.5, 1.5), keep_ratio=True)
MARGINS = dict(type='LoadPseudoLabelMargins', margins=(2, 5, 1, 3))
FLIP = dict(type='RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal'])
PAD = dict(type='Pad', size=(16, 16), pad_val=dict(img=7, seg=255))
PACK = dict(type='PackUDAInputs')


@TRANSFORMS.register_module()
class LeavesAllAsItIs(BaseTransform):
    """What the plan does not know, so that the pipeline runs step by step."""

    def transform(self, results: dict) -> dict:
        return results


def crop(size: tuple[int, int] = (16, 16), share: float = 0.75) -> dict:
    return dict(type='RandomCrop', crop_size=size, cat_max_ratio=share)


PIPELINES = dict(
    resized=[RESIZE, crop(), FLIP, PACK],
    shrunk=[SHRINK, crop((8, 8)), FLIP, PACK],
    random_scale=[RANDOM_RESIZE, crop(), FLIP, PAD, PACK],
    as_stored=[crop(), FLIP, PACK],
    smaller_than_the_crop=[SHRINK, crop(), FLIP, dict(type='PackUDAInputs', crop_size=(16, 16))],
    jittered=[RESIZE, crop(), FLIP, dict(type='PhotoMetricDistortion'), PACK],
    rotated=[RESIZE, crop(), dict(type='RandomRotate', prob=0.5, degree=20), PACK],
    swapped_ids=[RESIZE, crop(), dict(type='RandomFlip', prob=0.5, swap_seg_labels=[(0, 1)]), PACK],
    one_class_too_many=[RESIZE, crop((30, 30), 0.3), PACK])


def step_by_step(pipeline: list[dict]) -> list[dict]:
    place = next(i for i, step in enumerate(pipeline) if step['type'] == 'RandomCrop')
    return [*pipeline[:place], dict(type='LeavesAllAsItIs'), *pipeline[place:]]


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('reading')
    source = write_folder(folder / 'source', 4)
    write_statistics(count_files([dict(seg_map_path=str(path)) for path in sorted((source / 'labels').iterdir())], 1),
                     str(source))
    return source, write_folder(folder / 'target', 3, seed=50, height=30)


def both_ways(roots, steps, target_steps=None, load=(IMAGE, LABEL), target_load=(IMAGE,), rare=None, **kwargs
              ) -> list[UDADataset]:
    source, target = roots
    built = []
    for change in (list, step_by_step):
        built.append(DATASETS.build(dict(
            type='UDADataset', rare_class_sampling=rare,
            source=folder_config(source, pipeline=change([*load, *steps]), **kwargs),
            target=folder_config(target, labelled=False, pipeline=change([*target_load, *(target_steps or steps)]),
                                 **kwargs))))
    return built


def assert_same(datasets: list[UDADataset], count: int = 8) -> None:
    quick, reference = datasets
    assert CropPlan.of(quick.source.dataset.pipeline.transforms, 255) is not None
    assert CropPlan.of(reference.source.dataset.pipeline.transforms, 255) is None
    for position in range(count):
        assert same(quick[DrawKey(5, position)], reference[DrawKey(5, position)])


def unlabelled(steps: list[dict]) -> list[dict]:
    """A target has no label that a crop could look at."""
    return [dict(step, cat_max_ratio=1.0) if step['type'] == 'RandomCrop' else step for step in steps]


@pytest.mark.parametrize('rare', [None, RARE, dict(RARE, min_crop_ratio=6)], ids=['plain', 'rare', 'often_refused'])
@pytest.mark.parametrize('name', PIPELINES)
def test_same_samples(roots, name, rare):
    assert_same(both_ways(roots, PIPELINES[name], unlabelled(PIPELINES[name]), rare=rare))


@pytest.mark.parametrize('ignore_index', [255, 0])
def test_boxes_are_those_of_the_stock_crop(ignore_index):
    step = RandomCrop((6, 8), cat_max_ratio=0.6, ignore_index=ignore_index)
    boxes = set()
    for seed in range(60):
        label = np.kron(np.random.default_rng(seed).choice([0, 1, 255], (5, 6), p=[0.5, 0.2, 0.3]), np.ones((4, 4), int))
        results = dict(img=np.zeros((20, 24, 3), np.uint8), gt_seg_map=label.astype(np.uint8))
        np.random.seed(seed)
        top, bottom, left, right = step.crop_bbox(results)
        np.random.seed(seed)
        assert draw_box(step, (20, 24), results) == (slice(top, bottom), slice(left, right))
        boxes.add((top, left))
    assert len(boxes) > 20


@pytest.mark.parametrize('name', ['resized', 'random_scale', 'as_stored'])
def test_margins_without_pseudo_labels(roots, name):
    assert_same(both_ways(roots, PIPELINES[name], unlabelled(PIPELINES[name]), target_load=(IMAGE, MARGINS)))


@pytest.mark.parametrize('color_type', ['grayscale', 'unchanged'])
def test_channels(roots, color_type):
    image = dict(IMAGE, color_type=color_type)
    steps = PIPELINES['resized']
    assert_same(both_ways(roots, steps, unlabelled(steps), load=(image, LABEL), target_load=(image,)))


def test_stock_loading(roots):
    steps, load = PIPELINES['resized'], (dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'))
    assert_same(both_ways(roots, steps, unlabelled(steps), load=load, target_load=load[:1]))


def test_what_is_no_8_bit_image_runs_step_by_step(roots):
    steps, load = PIPELINES['as_stored'], (dict(type='LoadImageFromFile', to_float32=True), LABEL)
    quick, reference = both_ways(roots, steps, unlabelled(steps), load=load)
    assert all(same(quick[DrawKey(5, i)], reference[DrawKey(5, i)]) for i in range(4))
    assert quick[DrawKey(5, 0)]['source']['inputs'].dtype.is_floating_point


def test_reduce_zero_label(tmp_path):
    for i in range(3):
        write_image(tmp_path / 'images' / f'{i}.png', random_image(i))
        write_image(tmp_path / 'labels' / f'{i}.png', random_label(i, num_classes=4))  # 0 to 3, of which 0 goes
    steps = PIPELINES['resized']
    assert_same(both_ways((tmp_path, tmp_path), steps, unlabelled(steps), reduce_zero_label=True))


def test_16_bit_files(tmp_path):
    for i in range(3):
        write_image(tmp_path / 'images' / f'{i}.png', random_image(i).astype(np.uint16) * 257)
        write_image(tmp_path / 'labels' / f'{i}.png', random_label(i).astype(np.uint16))
    steps = PIPELINES['resized']
    assert_same(both_ways((tmp_path, tmp_path), steps, unlabelled(steps)))


def test_palette_and_grey_labels_are_read_alike(tmp_path):
    from PIL import Image

    from mmseg_cicld.datasets.file_reading import read_label_and_mode
    label = random_label(3)
    palette = Image.fromarray(label, 'L')
    write_image(tmp_path / 'grey.png', label)
    palette = palette.convert('P')
    palette.putdata(label.reshape(-1).tolist())
    palette.save(tmp_path / 'palette.png')
    for name, mode in (('grey', 'L'), ('palette', 'P')):
        read, found = read_label_and_mode(str(tmp_path / f'{name}.png'))
        assert found == mode
        np.testing.assert_array_equal(read, label)


def test_retries_leave_the_sample_alone(roots):
    # A step that writes into the label that it is given would spoil the next crop of the same file.
    dataset, _ = both_ways(roots, PIPELINES['swapped_ids'], unlabelled(PIPELINES['swapped_ids']))
    plan = CropPlan.of(dataset.source.dataset.pipeline.transforms, 255)
    results = plan.loaded(dataset.source.data_info(0))
    before = results['img'].copy(), results['gt_seg_map'].copy(), sorted(results)
    for _ in range(5):
        plan.draw(results).finish()
    np.testing.assert_array_equal(results['img'], before[0])
    np.testing.assert_array_equal(results['gt_seg_map'], before[1])
    assert sorted(results) == before[2]


@pytest.mark.parametrize('installed', [True, False], ids=['imagecodecs', 'OpenCV'])
def test_both_decoders_read_the_same_and_refuse_what_is_damaged(tmp_path, monkeypatch, installed):
    assert png_decoder() is not None
    if not installed:
        monkeypatch.setattr('mmseg_cicld.datasets.png_decoding.png_decoder', lambda: None)
    image, label = random_image(4), random_image(5)[..., 0].copy()
    colour, grey = write_image(tmp_path / 'a.png', image), tmp_path / 'label.png'
    cv2.imwrite(str(grey), label)
    np.testing.assert_array_equal(read_image(str(colour)), image)
    np.testing.assert_array_equal(read_label(str(grey)), label)
    data = bytearray(colour.read_bytes())
    data[len(data) // 2] ^= 4
    colour.write_bytes(data)
    assert cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_COLOR) is None
    with pytest.raises(DataFileError, match='damaged'):
        read_image(str(colour))


def test_without_imagecodecs_there_is_no_other_decoder(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert png_decoder.__wrapped__() is None
