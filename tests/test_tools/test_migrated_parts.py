"""Parts of old configs, each on its own: scales, rates, schedules, data sets, heads, necks and options of HRDA."""
from pathlib import Path

import numpy as np
import old_configs as old
import pytest
from migration_helpers import CNN, HRDA, migrated, unmapped
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from test_configs import shrink

from mmseg_cicld.migration import migrate, read_old_config

pytestmark = pytest.mark.usefixtures('mmseg_scope')


@pytest.mark.parametrize(('step', 'expected'), [
    ("img_scale=(2048, 512), ratio_range=(0.5, 2.0)",
     dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True)),
    ("img_scale=[(2048, 512), (1024, 256)], multiscale_mode='range'",
     dict(type='RandomResize', scale=[(2048, 512), (1024, 256)], keep_ratio=True)),
    ("img_scale=[(2048, 512), (1024, 256)], multiscale_mode='value', keep_ratio=False",
     dict(type='RandomChoiceResize', scales=[(2048, 512), (1024, 256)], keep_ratio=False)),
    ("img_scale=(1280, 720), override_scale=True", dict(type='Resize', scale=(1280, 720), keep_ratio=True)),
])
def test_resize(step, expected, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    data = tmp_path / '_base_/datasets/uda_gta_cityscapes_512.py'
    data.write_text(data.read_text().replace('img_scale=(1280, 720)', step))
    assert migrated(path).source_pipeline[2] == expected


@pytest.mark.parametrize(('step', 'expected', 'name'), [
    ('dict(type="Resize", keep_ratio=True, override_scale=True, img_scale=(640, 320))', (640, 320), None),
    ('dict(type="Resize", keep_ratio=True, override_scale=True)', (1024, 512), None),
    ('dict(type="Resize", keep_ratio=True, img_scale=(640, 320))', None,
     'data.val.pipeline[1].transforms[0].img_scale'),
    ('dict(type="Pad", size_divisor=32)', None, 'data.val.pipeline[1].transforms[0].type'),
])
def test_scale_of_tests(step, expected, name, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    data = tmp_path / '_base_/datasets/uda_gta_cityscapes_512.py'
    data.write_text(data.read_text().replace("dict(type='Resize', keep_ratio=True)", step))
    if name is None:
        assert migrated(path).val_pipeline[1].scale == migrated(path).test_pipeline[1].scale == expected
    else:
        assert name in unmapped(path)


def test_head_without_its_own_rate_keeps_weight_decay(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', rates='norm=dict(decay_mult=0.)')
    config = migrated(path)
    assert config.optim_wrapper.paramwise_cfg == dict(norm_decay_mult=0, custom_keys=dict(head=dict()))
    shrink(config.model.segmentor)
    model = MODELS.build(config.model)
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    decay = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    decay = {name: decay[id(parameter)] for name, parameter in model.student.named_parameters()}
    assert decay['backbone.layers.0.2.weight'] == decay['backbone.layers.1.0.norm.bias'] == 0
    assert decay['decode_head.fuse_layer.bottleneck.bn.weight'] == 0.01
    assert decay['backbone.layers.0.1.0.ffn.layers.0.bias'] == 0.01


def test_schedule_without_warm_up(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    path.write_text(path.read_text().replace('poly10warm', 'poly10'))
    assert migrated(path).param_scheduler == [
        dict(type='PolyLR', power=1.0, eta_min=1e-4, by_epoch=False, begin=0, end=40001)]


STOCK_HEADS = {
    'dlv3plus': ("type='DepthwiseSeparableASPPHead', in_channels=2048, in_index=3, channels=512, "
                 "dilations=(1, 6, 12, 18), c1_in_channels=256, c1_channels=48", ''),
    'danet': ("type='DAHead', in_channels=2048, in_index=3, channels=512, pam_channels=64", ''),
    'isanet': ("type='ISAHead', in_channels=2048, in_index=3, channels=512, isa_channels=256, down_factor=(8, 8)", ''),
    'auxiliary': ("type='UPerHead', in_channels=[256, 512, 1024, 2048], in_index=[0, 1, 2, 3], channels=512, "
                  "pool_scales=(1, 2, 3, 6)",
                  "auxiliary_head=dict(type='FCNHead', in_channels=1024, in_index=2, channels=256, num_convs=1, "
                  "concat_input=False, dropout_ratio=0.1, num_classes=19, norm_cfg=None, align_corners=False, "
                  "loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)),"),
}


@pytest.mark.parametrize('name', STOCK_HEADS)
def test_heads_of_mmseg_are_copied(name, tmp_path):
    head, auxiliary = STOCK_HEADS[name]
    body = f'''model = dict({auxiliary} decode_head=dict(
        _delete_=True, {head}, dropout_ratio=0.1, num_classes=19, norm_cfg=None, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))'''
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', body=body, **CNN)
    migration = migrate(read_old_config(path))
    assert migration.complete, migration.report()
    assert migration.problem() is None
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', body=body.replace(
        'dropout_ratio=0.1', 'dropout_ratio=0.1, my_ratio=1'), **CNN)
    assert 'has no such argument' in unmapped(path)['model.decode_head.my_ratio']


def test_neck_for_heads_of_stride_8(tmp_path):
    body = '''model = dict(
        pretrained='pretrained/mit_b3.pth', backbone=dict(_delete_=True, type='mit_b3'),
        neck=dict(type='SegFormerAdapter'), decode_head=dict(in_channels=512))'''
    config = migrated(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', model='deeplabv2red', body=body))
    segmentor = config.model.segmentor
    assert segmentor.neck == dict(type='SegFormerAdapter') and segmentor.decode_head.in_channels == 512
    assert segmentor.backbone.variant == 'b3' and 'mit_b3_20220624' in segmentor.backbone.init_cfg.checkpoint


@pytest.mark.parametrize(('published', 'change', 'key', 'expected'), [
    ('hr_slide_inference=True', 'hr_slide_overlapping=False', 'hr_slide_overlapping', False),
    ('hr_slide_inference=True', 'hr_slide_inference=False', 'hr_slide_inference', False),
    ('scales=[1, 0.5], hr_crop_size=(512, 512), feature_scale=0.5',
     'scales=[0.75, 1], hr_crop_size=(512, 512), feature_scale=0.75', 'scales', (0.75, 1)),
    ('scales=[1, 0.5], hr_crop_size=(512, 512), feature_scale=0.5',
     'scales=[1, 1], hr_crop_size=[256, 256], feature_scale=1', 'hr_crop_size', (256, 256)),
    ('attention_classwise=True', 'attention_classwise=False', 'decode_head.attention_classwise', False),
    ('attention_classwise=True', 'fixed_attention=0.5', 'decode_head.fixed_attention', 0.5),
    ('attention_classwise=True', 'lr_loss_weight=0.1', 'decode_head.lr_loss_weight', 0.1),
])
def test_ablations_of_hrda(published, change, key, expected, tmp_path):
    assert published in HRDA
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_1024', body=HRDA.replace(published, change))
    segmentor = migrated(path).model.segmentor
    for name in key.split('.'):
        segmentor = segmentor[name]
    assert segmentor == expected


def test_lists_of_auxiliary_heads_are_copied_one_by_one(tmp_path):
    head = """dict(type='FCNHead', in_channels=1024, in_index={index}, channels=64, num_convs=1, num_classes=19,
              norm_cfg=None, align_corners=False{more}, loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4))"""
    heads = f"[{head.format(index=1, more='')}, {head.format(index=2, more=', my_ratio=1')}]"
    body = f'model = dict(auxiliary_head={heads})'
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', body=body)
    assert unmapped(path).keys() == {'model.auxiliary_head[1].my_ratio'}
    path.write_text(path.read_text().replace(', my_ratio=1', ''))
    found = migrated(path).model.segmentor.auxiliary_head
    assert [(head.type, head.in_index, head.loss_decode.loss_weight) for head in found] == [
        ('FCNHead', 1, 0.4), ('FCNHead', 2, 0.4)]


def remote_sensing(folder: Path, kind: str, source: str = '', target: str = '', reduce: str = 'True',
                   image_folder: str = 'data') -> Path:
    """Writes an old config that adapts between two data sets whose labels begin at 1."""
    path = old.write_old(folder, 'old', 'gta_cityscapes_512', uda='dacs', body='model = dict(decode_head=dict('
                         f'num_classes={7 if kind == "LoveDADataset" else 6}))')
    data = folder / '_base_/datasets/uda_gta_cityscapes_512.py'
    text = data.read_text().replace("dict(type='LoadAnnotations')", f"dict(type='LoadAnnotations', "
                                                                    f"reduce_zero_label={reduce})")
    for name, more in (('gta', source), ('cityscapes', target)):
        for part in ('train', 'val'):
            text = text.replace(old.FOLDERS[name].format(part=part),
                                f"type='{kind}', data_root='{image_folder}/{name}', img_dir='img_dir/{part}', "
                                f"ann_dir='ann_dir/{part}'{more}")
    data.write_text(text)
    return path


@pytest.mark.parametrize('kind', ['ISPRSDataset', 'PotsdamDataset', 'LoveDADataset'])
def test_data_sets_whose_labels_begin_at_one(kind, tmp_path):
    for name, part in (('gta', 'train'), ('cityscapes', 'val')):
        for inner in ('img_dir', 'ann_dir'):
            folder = tmp_path / name / inner / part
            folder.mkdir(parents=True)
            stored = np.arange(16, dtype=np.uint8).reshape(4, 4) % 7
            Image.fromarray(np.stack([stored] * 3, 2) if inner == 'img_dir' else stored).save(folder / 'a.png')
    config = migrated(remote_sensing(tmp_path, kind, image_folder=str(tmp_path)))
    expected = (np.arange(16).reshape(4, 4) % 7 - 1) % 256  # 0 is ignored, 1 is the first class
    for loader, name in ((config.train_dataloader.dataset.source, 'gta'), (config.val_dataloader.dataset, 'cityscapes'),
                         (config.test_dataloader.dataset, 'cityscapes')):
        loader.pipeline = [loader.pipeline[0], next(step for step in loader.pipeline if 'Label' in step.type
                                                    or step.type == 'LoadAnnotations')]
        dataset = DATASETS.build(loader)
        assert loader.type == kind and dataset.reduce_zero_label and name in dataset.data_root
        np.testing.assert_array_equal(dataset[0]['gt_seg_map'], expected)


@pytest.mark.parametrize(('options', 'place', 'reason'), [
    (dict(reduce='False'), 'data.train.source.pipeline[1].reduce_zero_label', 'False, but True for the dataset'),
    (dict(target=', reduce_zero_label=False'), 'data.train.target.reduce_zero_label', 'False, but True for the source'),
    (dict(source=", classes=('building', 'tree')"), 'data.train.source.classes', 'together with reduce_zero_label'),
])
def test_labels_that_training_and_scores_count_differently_are_refused(options, place, reason, tmp_path):
    found = unmapped(remote_sensing(tmp_path, 'PotsdamDataset', **options))
    assert reason in found[place], found


def test_reduce_zero_label_of_other_data_sets_is_kept(tmp_path):
    reduces = ', reduce_zero_label=True'
    config = migrated(remote_sensing(tmp_path, 'GTADataset', source=reduces, target=reduces))
    datasets = (config.train_dataloader.dataset.source, config.train_dataloader.dataset.target,
                config.val_dataloader.dataset)
    assert [dataset.reduce_zero_label for dataset in datasets] == [True] * 3
    config = migrated(remote_sensing(tmp_path, 'GTADataset', reduce='False'))
    assert 'reduce_zero_label' not in config.train_dataloader.dataset.source
