"""Configs as the mmseg 0.x code bases of DAFormer, HRDA and MIC had them, written for these tests."""
import json
from pathlib import Path

from mmengine.config import Config

RUNTIME = '''
log_config = dict(interval=50, img_interval=1000, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = True
'''
CONV_HEAD = '''
norm_cfg = dict(type='BN', requires_grad=True)
find_unused_parameters = True
model = dict(
    type='EncoderDecoder',
    pretrained='pretrained/mit_b5.pth',
    backbone=dict(type='mit_b5', style='pytorch'),
    decode_head=dict(
        type='DAFormerHead', in_channels=[64, 128, 320, 512], in_index=[0, 1, 2, 3], channels=256, dropout_ratio=0.1,
        num_classes=19, norm_cfg=norm_cfg, align_corners=False,
        decoder_params=dict(
            embed_dims=256,
            embed_cfg=dict(type='mlp', act_cfg=None, norm_cfg=None),
            embed_neck_cfg=dict(type='mlp', act_cfg=None, norm_cfg=None),
            fusion_cfg=dict(type='conv', kernel_size=1, act_cfg=dict(type='ReLU'), norm_cfg=norm_cfg)),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
'''
DAFORMER_HEAD = '''
_base_ = ['conv_head.py']
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(decode_head=dict(decoder_params=dict(fusion_cfg=dict(
    _delete_=True, type='aspp', sep=True, dilations=(1, 6, 12, 18), pool=False, act_cfg=dict(type='ReLU'),
    norm_cfg=norm_cfg))))
'''
DEEPLAB = '''
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet50_v1c',
    backbone=dict(
        type='ResNetV1c', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False, style='pytorch', contract_dilation=True),
    decode_head=dict(
        type='DLV2Head', in_channels=2048, in_index=3, dilations=(6, 12), num_classes=19, align_corners=False,
        init_cfg=dict(type='Normal', std=0.01, override=dict(name='aspp_modules')),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
'''
DATA = '''
dataset_type = 'CityscapesDataset'
data_root = 'data/cityscapes/'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = {crop}
{source_name}_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale={source_scale}),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    {colours}dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
{target_name}_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale={target_scale}),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale={target_scale}, flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
'''
PAIRED = '''
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=4,
    train=dict(
        type='UDADataset',
        source=dict({source}, pipeline={source_name}_train_pipeline),
        target=dict({target_train}, pipeline={target_name}_train_pipeline)),
    val=dict({target_val}, pipeline=test_pipeline),
    test=dict({target_val}, pipeline=test_pipeline))
'''
ALONE = '''
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=4,
    train=dict({source}, pipeline={source_name}_train_pipeline),
    val=dict({target_val}, pipeline=test_pipeline),
    test=dict({target_val}, pipeline=test_pipeline))
'''
FOLDERS = dict(
    gta="type='GTADataset', data_root='data/gta/', img_dir='images', ann_dir='labels'",
    synthia="type='SynthiaDataset', data_root='data/synthia/', img_dir='RGB', ann_dir='GT/LABELS'",
    cityscapes="type='CityscapesDataset', data_root='data/cityscapes/', img_dir='leftImg8bit/{part}', "
               "ann_dir='gtFine/{part}'",
    acdc="type='ACDCDataset', data_root='data/acdc/', img_dir='rgb_anon/{part}', ann_dir='gt/{part}'",
    darkzurich="type='DarkZurichDataset', data_root='data/dark_zurich/', img_dir='rgb_anon/{part}/night/', "
               "ann_dir='gt/{part}/night/'")
SCALES = dict(gta=(1280, 720), synthia=(1280, 760), cityscapes=(1024, 512), acdc=(960, 540), darkzurich=(960, 540))
DACS = '''
uda = dict(
    type='DACS', source_only=False, alpha=0.99, pseudo_threshold=0.968, pseudo_weight_ignore_top=0,
    pseudo_weight_ignore_bottom=0, imnet_feature_dist_lambda=0, imnet_feature_dist_classes=None,
    imnet_feature_dist_scale_min_ratio=None, mix='class', blur=True, color_jitter_strength=0.2,
    color_jitter_probability=0.2, mask_mode=None, mask_alpha='same', mask_pseudo_threshold='same', mask_lambda=0,
    mask_generator=None, debug_img_interval=1000, print_grad_magnitude=False)
use_ddp_wrapper = True
'''
DACS_FD = '''
_base_ = ['dacs.py']
uda = dict(alpha=0.999, imnet_feature_dist_lambda=0.005, imnet_feature_dist_scale_method='unused',
           imnet_feature_dist_classes=[6, 7, 11, 12, 13, 14, 15, 16, 17, 18], imnet_feature_dist_scale_min_ratio=0.75)
'''
MASK_DEFAULTS = '''alpha=0.999, mask_alpha='same', mask_pseudo_threshold='same', pseudo_threshold=0.968,
           pseudo_weight_ignore_top=0, pseudo_weight_ignore_bottom=0, blur=True, color_jitter_strength=0.2,
           color_jitter_probability=0.2, mask_mode=None, mask_lambda=0, mask_generator=None, debug_img_interval=1000'''
ADVSEG = f'''
uda = dict(type='AdvSeg', discriminator_type='LS', lr_D=1e-4, lr_D_power=0.9, lr_D_min=0,
           lambda_adv_target=dict(main=0.001, aux=0.0002), {MASK_DEFAULTS})
'''
MINENT = f'''
uda = dict(type='MinEnt', lambda_ent=dict(main=0.001, aux=0.0002), {MASK_DEFAULTS})
'''
ADAMW = '''
optimizer = dict(type='AdamW', lr=0.0001, betas=(0.9, 0.999), weight_decay=0.01)
optimizer_config = dict()
'''
SGD = '''
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict()
'''
POLY = '''
lr_config = dict(policy='poly', warmup='linear', warmup_iters=1500, warmup_ratio=1e-6, power=1.0, min_lr=0.0,
                 by_epoch=False)
'''
POLY_PLAIN = '''
lr_config = dict(policy='poly', power=1.0, min_lr=1e-4, by_epoch=False)
'''
FILES = {
    'default_runtime.py': RUNTIME, 'models/conv_head.py': CONV_HEAD, 'models/daformer.py': DAFORMER_HEAD,
    'models/deeplabv2red.py': DEEPLAB, 'uda/dacs.py': DACS, 'uda/dacs_a999_fdthings.py': DACS_FD,
    'uda/advseg.py': ADVSEG, 'uda/minent.py': MINENT, 'schedules/adamw.py': ADAMW, 'schedules/sgd.py': SGD,
    'schedules/poly10warm.py': POLY, 'schedules/poly10.py': POLY_PLAIN}
HEAD_RATE = "head=dict(lr_mult=10.)"
MIT_RATES = f"{HEAD_RATE}, pos_block=dict(decay_mult=0.), norm=dict(decay_mult=0.)"
HRDA = '''
model = dict(
    type='HRDAEncoderDecoder', scales=[1, 0.5], hr_crop_size=(512, 512), feature_scale=0.5, crop_coord_divisible=8,
    hr_slide_inference=True,
    decode_head=dict(type='HRDAHead', single_scale_head={head!r}, attention_classwise=True, hr_loss_weight=0.1),
    test_cfg=dict(mode='slide', batched_slide=True, stride=[512, 512], crop_size=[1024, 1024]))
'''
RARE = 'data = dict(train=dict(rare_class_sampling=dict(min_pixels=3000, class_temp=0.01, min_crop_ratio={}){}))\n'
TOP_ROWS = 'uda = dict(pseudo_weight_ignore_top=15, pseudo_weight_ignore_bottom=120{})\n'
MARGINS = ', target=dict(crop_pseudo_margins=[30, 240, 30, 30])'
MASK = '''mask_mode={!r}, mask_alpha='same', mask_pseudo_threshold='same', mask_lambda=1,
           mask_generator=dict(type='block', mask_ratio=0.7, mask_block_size={}, _delete_=True)'''
R101 = "model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))\n"
HRDA_R101 = HRDA.format(head='DLV2Head').rstrip()[:-1] + R101.replace('model = dict(', ', ')


def write_bases(folder: Path) -> None:
    """Writes all base files."""
    files = {f'_base_/{name}': text for name, text in FILES.items()}
    for source, target in (('gta', 'cityscapes'), ('synthia', 'cityscapes'), ('cityscapes', 'acdc'),
                           ('cityscapes', 'darkzurich')):
        for factor, size in ((1, 512), (2, 1024)):
            for kind in ('uda', 'source'):
                files[f'_base_/datasets/{kind}_{source}_{target}_{size}.py'] = _data(source, target, factor, kind)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_old(folder: Path, name: str, data: str, model: str = 'daformer', uda: str | None = 'dacs_a999_fdthings',
              schedule: str = 'adamw', rates: str = MIT_RATES, lr: float = 6e-5, body: str = '') -> Path:
    """Writes a config with its bases.

    Args:
        folder: Where the files go.
        name: Name of the config without ending.
        data: End of a file name in ``_base_/datasets``.
        model: File in ``_base_/models``.
        uda: File in ``_base_/uda``, None without adaptation.
        schedule: Optimiser file in ``_base_/schedules``.
        rates: Custom keys of the optimiser.
        lr: Learning rate.
        body: Further settings.
    """
    write_bases(folder)
    bases = ['default_runtime.py', f'models/{model}.py', f'datasets/{"uda" if uda else "source"}_{data}.py',
             f'schedules/{schedule}.py', 'schedules/poly10warm.py'] + ([f'uda/{uda}.py'] if uda else [])
    path = folder / 'methods' / f'{name}.py'
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'''_base_ = {[f"../_base_/{base}" for base in bases]}
seed = 0
{'optimizer_config = None' if uda else ''}
optimizer = dict(lr={lr}, paramwise_cfg=dict(custom_keys=dict({rates})))
n_gpus = 1
gpu_model = 'NVIDIATITANRTX'
runner = dict(type='IterBasedRunner', max_iters=40000)
checkpoint_config = dict(by_epoch=False, interval=40000, max_keep_ckpts=1)
evaluation = dict(interval=4000, metric='mIoU')
name = {name!r}
exp = 'basic'
name_dataset = {data!r}
name_uda = 'text'
git_rev = '0123456'
{body}''')
    return path


def write_legacy_json(folder: Path) -> Path:
    """Writes the merged config of an early DAFormer run as JSON: lists for tuples, legacy names, no masking keys."""
    merged = Config.fromfile(write_old(folder, 'legacy', 'gta_cityscapes_512', body=RARE.format(0.5, '')
                                       + TOP_ROWS.format('')))
    content = json.loads(json.dumps(merged._cfg_dict.to_dict()))
    content['model']['decode_head']['type'] = 'UniHead'
    content['model']['decode_head']['decoder_params']['fusion_cfg']['fusion'] = 'concat'
    content['model']['backbone']['ema_drop_path_rate'] = 0.1
    for key in [key for key in content['uda'] if key.startswith('mask_') or key == 'source_only']:
        del content['uda'][key]
    content['data']['train']['target']['pipeline'][3]['cat_max_ratio'] = 0.75
    content['uda'].update(model=content['model'], max_iters=40000)
    path = folder / 'legacy.json'
    path.write_text(json.dumps(content))
    return path


def _data(source: str, target: str, factor: int, kind: str) -> str:
    scales = {name: tuple(factor * side for side in SCALES[name]) for name in (source, target)}
    values = dict(
        crop=(512 * factor, 512 * factor), source_name=source, target_name=target, source_scale=scales[source],
        target_scale=scales[target], source=FOLDERS[source].format(part='train'),
        target_train=FOLDERS[target].format(part='train'), target_val=FOLDERS[target].format(part='val'),
        colours="dict(type='PhotoMetricDistortion'),\n    " if kind == 'source' else '')
    return (DATA + (PAIRED if kind == 'uda' else ALONE)).format(**values)
