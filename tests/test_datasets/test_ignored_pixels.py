"""Dataset, transforms, padding, heads, losses and metric ignore the same pixels, or the config is refused."""
import copy

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from tiny_datasets import CLASSES, PACK, SOURCE_STEPS, folder_config, random_label, write_folder, write_image

from mmseg_cicld.datasets import DataFileError, UDADataset, audit_dataset, audit_train_datasets, check_num_classes
from mmseg_cicld.datasets.class_statistics import count_files, label_files, refuse_unknown_ids, write_statistics
from mmseg_cicld.datasets.uda_dataset import DrawKey

OTHER = 254


@pytest.fixture
def root(tmp_path):
    """Labels in which 254 stands where others have 255."""
    root = write_folder(tmp_path / 'data', 3)
    for i in range(3):
        label = random_label(i)
        write_image(root / 'labels' / f'{i:03}.png', np.where(label == 255, OTHER, label))
    return root


def config(root, **model) -> Config:
    """A config in which every part says 254."""
    data = folder_config(root, ignore_index=OTHER)
    head = dict(type='FCNHead', ignore_index=OTHER, loss_decode=dict(type='CrossEntropyLoss'))
    segmentor = dict(type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', seg_pad_val=OTHER),
                     decode_head=head, auxiliary_head=[copy.deepcopy(head)])
    return Config(dict(
        model=dict(type='ClassMixEMA', segmentor=dict(segmentor, **model)),
        train_dataloader=dict(dataset=dict(type='UDADataset', source=data, target=folder_config(root, False)),
                              sampler=dict(type='KeyedInfiniteSampler')),
        val_dataloader=dict(dataset=copy.deepcopy(data)), val_evaluator=dict(type='IoUMetric', ignore_index=OTHER)))


def test_parts_that_agree(root):
    cfg = config(root)
    assert check_num_classes(cfg) == len(CLASSES)
    assert all(report.ok for report in audit_train_datasets(cfg))


def test_contradictions_name_key_and_remedy(root):
    cfg = config(root)
    del cfg.model.segmentor.decode_head.ignore_index
    with pytest.raises(ValueError, match='train_dataloader has ignore_index=254.*decode_head.ignore_index=255.*'
                                         '--cfg-options model.segmentor.decode_head.ignore_index=254$'):
        check_num_classes(cfg)


@pytest.mark.parametrize('key, value, words', [
    ('model.segmentor.auxiliary_head.0.ignore_index', 255, 'auxiliary_head.0.ignore_index=255'),
    ('model.segmentor.data_preprocessor.seg_pad_val', 255, 'data_preprocessor.seg_pad_val=255'),
    ('model.segmentor.decode_head.loss_decode', dict(type='DiceLoss'), 'decode_head.loss_decode.ignore_index=255'),
    ('model.segmentor.decode_head.loss_decode', [dict(type='CrossEntropyLoss'), dict(type='OhemCrossEntropy')],
     'decode_head.loss_decode.1.ignore_label=255'),
    ('val_evaluator', dict(type='IoUMetric'), 'val_dataloader has ignore_index=254.*val_evaluator.ignore_index=255'),
    ('val_evaluator', [dict(type='SubsetIoUMetric', subsets={})], 'val_evaluator.0.ignore_index=255'),
])
def test_every_part_that_contradicts_is_found(root, key, value, words):
    cfg = config(root)
    cfg.merge_from_dict({key: value}) if not isinstance(value, (dict, list)) else _set(cfg, key, value)
    with pytest.raises(ValueError, match=words):
        check_num_classes(cfg)


def _set(cfg: Config, key: str, value: object) -> None:
    *parents, last = key.split('.')
    place = cfg
    for name in parents:
        place = place[name]
    place[last] = value


@pytest.mark.parametrize('key, value', [('model.segmentor.data_preprocessor.seg_pad_val', 0),
                                        ('model.segmentor.decode_head.ignore_index', None),
                                        ('val_evaluator', dict(type='IoUMetric', format_only=True, output_dir='x'))])
def test_choices_are_no_contradictions(root, key, value):
    cfg = config(root)
    _set(cfg, key, value)
    assert check_num_classes(cfg) == len(CLASSES)


def test_kernel_heads_are_looked_into(root):
    head = dict(type='IterativeDecodeHead', num_stages=1, kernel_generate_head=dict(type='FCNHead'),
                kernel_update_head=[dict(type='KernelUpdateHead')])
    with pytest.raises(ValueError, match='decode_head.kernel_generate_head.ignore_index=255'):
        check_num_classes(config(root, decode_head=head))


def test_transforms_take_the_number_of_their_dataset(root):
    steps = [*SOURCE_STEPS, dict(type='RandomCrop', crop_size=(16, 16), cat_max_ratio=0.75),
             dict(type='RandomRotate', prob=1.0, degree=30), dict(type='Pad', size=(32, 32)), PACK]
    dataset = UDADataset(folder_config(root, pipeline=steps, ignore_index=OTHER))
    built = dataset.source.dataset.pipeline.transforms
    assert (built[2].ignore_index, built[3].seg_pad_val, built[4].pad_val) == (OTHER, OTHER, dict(img=0, seg=OTHER))
    label = dataset[0]['source']['data_samples'].gt_sem_seg.data
    assert (label[:, 16:] == OTHER).all() and set(label.unique().tolist()) <= {0, 1, 2, OTHER}
    cfg = config(root)
    cfg.val_dataloader.dataset.pipeline = [*SOURCE_STEPS, dict(type='RandomChoice', transforms=[[dict(type='Pad')]])]
    check_num_classes(cfg)
    assert cfg.val_dataloader.dataset.pipeline[2].transforms[0][0].pad_val == dict(img=0, seg=OTHER)


def test_a_crop_that_counts_other_pixels_is_refused(root):
    steps = [*SOURCE_STEPS, dict(type='RandomCrop', crop_size=(16, 16), ignore_index=255), PACK]
    with pytest.raises(ValueError, match='RandomCrop.ignore_index=255 contradicts ignore_index=254'):
        UDADataset(folder_config(root, pipeline=steps, ignore_index=OTHER))


def test_audit_and_statistics_leave_ignored_pixels_out(root):
    dataset = DATASETS.build(folder_config(root, pipeline=[], ignore_index=OTHER))
    report = audit_dataset(dataset)
    assert report.ok and report.pixels[OTHER] > 0 and '254 | (ignore)' in report.table()
    entries = count_files(label_files(dataset), 1)
    refuse_unknown_ids(entries, len(CLASSES), OTHER)
    assert all(str(OTHER) not in entry for entry in entries)
    assert sum(v for entry in entries for k, v in entry.items() if k != 'file') == 3 * 24 * 40 - report.pixels[OTHER]
    write_statistics(entries, str(root))
    drawn = UDADataset(folder_config(root, ignore_index=OTHER), rare_class_sampling=dict(min_pixels=0))
    assert drawn.rare_classes.classes.max() < len(CLASSES) and drawn[DrawKey(0, 3)]


def test_255_is_an_unknown_id_then(root):
    write_image(root / 'labels' / '000.png', np.full((24, 40), 255, np.uint8))
    write_image(root / 'labels' / '001.png', np.full((24, 40), OTHER, np.uint8))
    report = audit_dataset(DATASETS.build(folder_config(root, pipeline=[], ignore_index=OTHER)))
    assert [(finding.kind, finding.file[-7:]) for finding in report.findings] == [('ids', '000.png'),
                                                                                ('all-ignore', '001.png')]
    assert 'allowed are 0 to 2 and 254' in report.findings[0].text
    dataset = UDADataset(folder_config(root, ignore_index=OTHER))
    with pytest.raises(DataFileError, match=r'000.png has the ids \[255\], allowed are 0 to 2 and 254'):
        for position in range(3):
            dataset[position]


@pytest.mark.parametrize('changes, words', [
    (dict(ignore_index=-1), 'ignore_index=-1 of FolderDataset: labels have 8 bits'),
    (dict(ignore_index=None), 'ignore_index=None of FolderDataset'),
    (dict(ignore_index=256), 'ignore_index=256'),
    (dict(ignore_index=OTHER, reduce_zero_label=True), 'reduce_zero_label=True, .* set ignore_index=255'),
])
def test_numbers_that_labels_cannot_have(root, changes, words):
    with pytest.raises(ValueError, match=words):
        UDADataset(folder_config(root, **changes))
    cfg = config(root)
    cfg.train_dataloader.dataset.source.update(changes)
    with pytest.raises(ValueError, match=words):
        check_num_classes(cfg)


def test_classes_that_are_left_out_become_255(root):
    left = dict(type='CityscapesDataset', metainfo=dict(classes=['road', 'car']), ignore_index=OTHER,
                data_root=str(root), data_prefix=dict(img_path='images'), img_suffix='.png')
    with pytest.raises(ValueError, match='metainfo.classes of CityscapesDataset leaves out classes.*ignore_index=255'):
        UDADataset(folder_config(root), left)


def test_joined_datasets_ignore_the_same(root):
    joined = dict(type='ConcatDataset', datasets=[folder_config(root), folder_config(root, ignore_index=OTHER)])
    with pytest.raises(ValueError, match=r'different ignore_index: \[254, 255\]'):
        UDADataset(joined)
    cfg = config(root)
    cfg.train_dataloader.dataset.source = joined
    with pytest.raises(ValueError, match='train_dataloader have different ignore_index'):
        check_num_classes(cfg)


def test_reduced_labels_are_audited_as_they_are_trained_on(tmp_path):
    root = write_folder(tmp_path, 2)
    for i in range(2):
        label = random_label(i)
        write_image(root / 'labels' / f'{i:03}.png', np.where(label == 255, 0, label + 1).astype(np.uint8))
    dataset = DATASETS.build(folder_config(root, pipeline=[], reduce_zero_label=True))
    report = audit_dataset(dataset)
    ignored = sum(int((random_label(i) == 255).sum()) for i in range(2))
    assert report.ok and report.pixels[255] == ignored and set(report.pixels) == {0, 1, 2, 255}
    write_image(root / 'labels' / '000.png', np.full((24, 40), 4, np.uint8))
    (finding,) = audit_dataset(dataset).findings
    assert r'has the ids [3] after reduce_zero_label, which takes 1 off' in finding.text
