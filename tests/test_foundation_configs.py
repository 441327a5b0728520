"""The configs of VFM-UDA++: data, networks, rates and schedule are those that were published."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmseg.registry import MODELS
from torch import nn

ROOT = Path(__file__).parents[1]
ALL = {path.stem: path for path in sorted((ROOT / 'configs' / 'vfm_uda').glob('*.py'))}
TUNINGS = {
    'lora': dict(type='LoRATuning', rank=16, alpha=16),
    'soma': dict(type='LoRATuning', rank=16, alpha=16, first_block=8, initialisation='smallest_singular'),
    'frozen': dict(type='FrozenTuning'), 'last4': dict(type='LastBlocksTuning', blocks=4),
    'tokens': dict(type='LearnableTokens', tokens=100, rank=16)}
TUNED = {name: path for name, path in ALL.items() if any(f'-{kind}_' in name for kind in TUNINGS)}
CONFIGS = {name: path for name, path in ALL.items() if name not in TUNED}
NETWORKS = {'dinov2-small': (384, 12, 6), 'dinov2-base': (768, 12, 12), 'dinov2-large': (1024, 24, 16),
            'dinov3-small': (384, 12, 6), 'dinov3-base': (768, 12, 12), 'dinov3-large': (1024, 24, 16)}
BENCHMARKS = ('gta2cityscapes', 'synthia2cityscapes', 'cityscapes2acdc', 'cityscapes2darkzurich')
# Base rates of the published configs, by network and benchmark; all others have 5e-5.
BASE_RATES = {('dinov2-large', 'gta2cityscapes'): 1e-5, ('dinov3-large', 'gta2cityscapes'): 1e-5}


def parts(name: str) -> tuple[str, str, int, int, str]:
    """Method, network, GPUs, images on each, and benchmark of the name of a config."""
    method, network, gpus, images, benchmark = re.fullmatch(
        r'([\w-]+)_(dinov\d-\w+)_(\d)xb(\d)-40k_(\w+)-1024x1024', name).groups()
    return method, network, int(gpus), int(images), benchmark


def test_source_only_stands_beside_each_adaptation():
    for network in NETWORKS:
        for benchmark in BENCHMARKS:
            names = [name for name in CONFIGS if f'_{network}_4xb' in name and f'_{benchmark}-' in name]
            assert sorted(parts(name)[0] for name in names) == ['source-only', 'vfm-uda']
            lone, adapted = (Config.fromfile(CONFIGS[name]) for name in sorted(names))
            assert lone.train_dataloader.dataset.target is None and lone.model.teacher is None
            assert lone.train_dataloader.dataset.source == adapted.train_dataloader.dataset.source
            assert lone.model.segmentor == adapted.model.segmentor and lone.optim_wrapper == adapted.optim_wrapper
            assert lone.model.objectives == adapted.model.objectives[:1]


@pytest.mark.parametrize('name', CONFIGS)
def test_names_say_what_is_inside(name):
    method, network, gpus, images, benchmark = parts(name)
    config = Config.fromfile(CONFIGS[name])
    width, blocks, heads = NETWORKS[network]
    vit = config.model.segmentor.backbone.vit
    assert (vit.model.hidden_size, vit.model.num_hidden_layers, vit.model.num_attention_heads) == (width, blocks, heads)
    assert vit.model.model_type.startswith(network[:6]) and vit.weights.startswith(f'facebook/{network[:6]}')
    assert vit.get('scale', 1) * 1024 == (1120 if network.startswith('dinov2') else 1024)
    assert config.model.segmentor.test_cfg == dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512))
    assert config.model.segmentor.data_preprocessor.size == config.crop_size == (1024, 1024)
    assert config.model.segmentor.decode_head.in_channels == [width] * 4
    assert config.train_dataloader.batch_size == images and config.train_cfg.max_iters == 40000
    assert config.optim_wrapper.optimizer.lr == pytest.approx(
        BASE_RATES.get((network, benchmark), 5e-5) * (gpus * images)**0.5)
    if benchmark == 'synthetic2real':
        return
    folders = dict(gta='gta', synthia='synthia', cityscapes='cityscapes', acdc='acdc', darkzurich='dark_zurich')
    source, target = (folders[domain] for domain in benchmark.split('2'))
    assert config.train_dataloader.dataset.source.data_root == f'data/{source}'
    assert config.val_dataloader.dataset.data_root == config.test_dataloader.dataset.data_root == f'data/{target}'


@pytest.mark.parametrize('network', NETWORKS)
def test_all_synthetic_to_all_real_domains(network):
    adapted, lone = (Config.fromfile(CONFIGS[f'{method}_{network}_4xb2-40k_synthetic2real-1024x1024'])
                     for method in ('vfm-uda', 'source-only'))
    data = adapted.train_dataloader.dataset
    assert [part.data_root for part in data.source.datasets] == ['data/gta', 'data/synthia']
    assert [part.data_root for part in data.target.datasets] == ['data/cityscapes', 'data/acdc', 'data/dark_zurich']
    short_sides = [part.pipeline[2].scale[1] for part in data.source.datasets + data.target.datasets]
    assert short_sides == [1440, 1024, 1024, 1024, 1024]
    assert lone.train_dataloader.dataset.source == data.source and lone.train_dataloader.dataset.target is None
    assert lone.model.segmentor == adapted.model.segmentor and lone.model.teacher is None
    assert lone.model.objectives == adapted.model.objectives[:1] and lone.val_dataloader == adapted.val_dataloader
    scored = [part.data_root for part in adapted.val_dataloader.dataset.datasets]
    assert scored == [*adapted.val_evaluator.domains.values()] == [part.data_root for part in data.target.datasets]


@pytest.mark.parametrize('network, kind', [
    *((network, kind) for network in NETWORKS for kind in ('lora', 'soma')),
    *(('dinov2-large', kind) for kind in ('frozen', 'last4', 'tokens'))])
def test_tuned_networks_differ_in_tuning_and_rates(network, kind):
    adapted, lone = (Config.fromfile(TUNED[f'{method}_{network}-{kind}_4xb2-40k_gta2cityscapes-1024x1024'])
                     for method in ('vfm-uda', 'source-only'))
    width, blocks, _ = NETWORKS[network]
    assert len(TUNED) == 30 and lone.model.segmentor == adapted.model.segmentor
    expected = dict(TUNINGS[kind], first_block=blocks // 3) if kind == 'soma' else TUNINGS[kind]
    assert adapted.model.segmentor.backbone.tuning == expected
    inner, neck = adapted.model.segmentor.backbone.backbone, adapted.model.segmentor.neck
    assert inner.weights.startswith(f'facebook/{network[:6]}') and neck.in_channels == width
    assert (inner.model.hidden_size, inner.model.num_hidden_layers, inner.model.num_attention_heads) == NETWORKS[network]
    assert adapted.model.segmentor.test_cfg == dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512))
    assert adapted.model.segmentor.data_preprocessor.size == adapted.crop_size == (1024, 1024)
    assert lone.model.objectives == adapted.model.objectives[:1] and lone.train_dataloader.dataset.target is None
    optimiser = adapted.optim_wrapper
    assert (optimiser.optimizer.lr, optimiser.optimizer.weight_decay) == (1e-4, 0.05)
    assert optimiser.paramwise_cfg.custom_keys == {'student.backbone': dict(lr_mult=0.5)}
    assert lone.optim_wrapper == optimiser


def test_recipe_is_the_published_one():
    config = Config.fromfile(CONFIGS['vfm-uda_dinov2-large_4xb2-40k_gta2cityscapes-1024x1024'])
    strong = dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4, jitter_probability=0.8, grey_probability=0.1,
                  blur_probability=0.5, blur_sigma=(0.15, 3.0))
    weak = dict(brightness=32 / 255, contrast=0.5, saturation=0.5, hue=18 / 360, jitter_probability=0.9,
                grey_probability=0.0, blur_probability=0.0)
    mix = dict(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2, jitter_probability=0.8, grey_probability=0.0,
               blur_probability=0.5, blur_sigma=(0.15, 1.15))
    strong, weak, mix = (dict(type='PhotometricAugmentation', **values) for values in (strong, weak, mix))
    source, mixed, masked, distance = config.model.objectives
    assert source == dict(type='SourceSupervision', augmentation=strong, avg_non_ignore=True)
    assert mixed == dict(type='ClassMixSelfTraining', threshold=0.968, augmentation=mix, target_augmentation=weak)
    assert masked == dict(type='MaskedConsistency', block=57, ratio=0.7, threshold=0.968, augment=mix)
    assert round(1024 / 57) == round(1120 / 64) == 18
    assert distance.pop('network').weights == 'facebook/dinov2-with-registers-large'
    assert distance == dict(type='FoundationFeatureDistance', out_channels=1024, size=(406, 406), source_weight=0.1,
                            target_weight=0.1, smooth_l1=0.1, cosine=0.9, augmentation=weak)
    assert config.model.teacher == dict(momentum=0.999, flip=True)
    assert config.model.get('evaluate', 'student') == 'student'
    assert config.optim_wrapper.type == 'OptimWrapper' and 'clip_grad' not in config.optim_wrapper
    assert config.train_dataloader.dataset.rare_class_sampling == dict(
        min_pixels=3000, class_temp=0.05, min_crop_ratio=1024**2 / (512 * 1024))


@pytest.mark.parametrize('network, blocks', [('dinov2-small', 12), ('dinov2-large', 24), ('dinov3-large', 24)])
def test_each_parameter_has_the_published_rate_and_weight_decay(network, blocks):
    config = Config.fromfile(CONFIGS[f'vfm-uda_{network}_4xb2-40k_synthia2cityscapes-1024x1024'])
    init_default_scope('mmseg')
    segmentor, objectives = config.model.segmentor, config.model.objectives
    vit = segmentor.backbone.vit
    vit.weights = None
    vit.model.update(hidden_size=16, num_attention_heads=2)
    if 'intermediate_size' in vit.model:
        vit.model.intermediate_size = 32
    segmentor.backbone.update(inplanes=8, head_channels=8)
    segmentor.decode_head.in_channels = [16] * 4
    model = MODELS.build(dict(config.model, objectives=[objectives[0], objectives[3]]))
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)]: (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    rate, layers = 5e-5 * 8**0.5, set()
    for name, (lr, decay) in found.items():
        block = re.search(r'\.layer\.(\d+)\.', name)
        factor = 1.0
        if block:
            layers.add(int(block[1]))
            factor = 0.1 * 0.9**(blocks - 1 - int(block[1]))
        elif '.vit.model.embeddings.' in name:
            factor = 0.1 * 0.9**blocks
        assert lr == pytest.approx(rate * factor) and decay == 0.01, name
    assert layers == set(range(blocks))
    assert any(name.startswith('objectives.1.head') for name in found) and 'student.backbone.level_embeddings' in found


def test_schedule_is_the_published_one():
    config = Config.fromfile(ROOT / 'configs/_base_/schedules/linear_40k_vfm.py')
    optimiser = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    schedulers = [PARAM_SCHEDULERS.build(dict(item, optimizer=optimiser)) for item in config.param_scheduler]
    expected = np.concatenate([np.linspace(1e-3, 1, 1500), np.linspace(1, 0, 40001)[1500:]])
    rates = []
    for _ in range(40000):
        rates.append(optimiser.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    np.testing.assert_allclose(rates, expected[:40000], rtol=1e-9)
