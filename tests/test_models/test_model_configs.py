"""The model and schedule configs: they build, agree with the tables, and give the published learning rates."""
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.models.backbones.mit_variants import MIT_VARIANTS

BASE = Path(__file__).parents[2] / 'configs' / '_base_'
MODEL_CONFIGS = sorted(path.stem for path in (BASE / 'models').glob('*.py'))
# At which iteration the published schedule has which rate, for the base rate 6e-5.
PUBLISHED_RATES = {0: 6.0000000e-11, 1: 4.0058958501e-08, 749: 2.93990284775e-05, 1499: 5.7712999038501e-05,
                   1500: 5.775e-05, 20000: 3.0e-05, 39999: 1.5e-09}

MILLIONS = {'dinov2-small': 22.1, 'dinov2-base': 86.6, 'dinov2-large': 304.4, 'dinov3-small': 21.6, 'dinov3-base': 85.7,
            'dinov3-large': 303.1, 'dinov3-convnext-tiny': 27.8, 'dinov3-convnext-small': 49.5,
            'dinov3-convnext-base': 87.6, 'dinov3-convnext-large': 196.2}  # parameters of the published networks


def variant_of(name: str) -> str | None:
    """Returns the variant in the name of a config, None for CNNs."""
    found = re.search(r'_mit-(b\d)', name)
    return found and found.group(1)


def build(name: str, **backbone) -> nn.Module:
    config = Config.fromfile(BASE / 'models' / f'{name}.py').model
    config.backbone.update(init_cfg=None, **backbone)
    if 'vae' in name:
        config.neck.in_channels = config.backbone.autoencoder.block_out_channels[-2:]
    if config.decode_head.num_classes is None:  # for own data: training fills it in from the dataset
        config.decode_head.num_classes = 19
    return MODELS.build(config)


# test_pretrained_unet.py builds the one whose denoiser is read from a folder or hub.
@pytest.mark.parametrize('name', [name for name in MODEL_CONFIGS if 'dinov' not in name and 'pretrained-unet' not in name])
def test_model_config_gives_logits_of_every_class(name):
    size = variant_of(name)
    shallow = dict(depth=50) if size is None else dict(
        variant=None, embed_dims=MIT_VARIANTS[size].embed_dims, num_layers=(1, 1, 1, 1))
    shallow = {} if 'lite' in name else shallow
    narrow = dict(autoencoder=dict(block_out_channels=(32, 32, 64, 64), layers_per_block=1,
                                   down_block_types=('DownEncoderBlock2D', ) * 4,
                                   up_block_types=('UpDecoderBlock2D', ) * 4))
    model = build(name, **(narrow if 'vae' in name else shallow)).eval()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 128, 64), mode='tensor')
    stride = 8 if 'deeplabv2' in name else 4
    assert logits.shape == (1, 19, 128 // stride, 64 // stride)
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


# Tuned ones are such a network in a wrapper; test_configs.py trains them.
TUNINGS = ('lora', 'soma', 'frozen', 'last4', 'tokens')


@pytest.mark.parametrize('name', [name for name in MODEL_CONFIGS
                                  if 'dinov' in name and not set(TUNINGS) & set(name.split('_'))])
def test_config_of_a_foundation_model_has_its_size_and_gives_logits_of_every_class(name):
    config = Config.fromfile(BASE / 'models' / f'{name}.py').model
    source = config.backbone.get('vit', config.backbone)
    assert source.weights.startswith('facebook/dino')
    depths = list(source.model.get('depths', [source.model.get('num_hidden_layers')]))
    shallow = dict(depths=[1] * 4) if 'convnext' in name else dict(num_hidden_layers=4)
    source.update(weights=None, model=dict(source.model, **shallow))
    with torch.device('meta'):  # shapes without numbers: the large ones take long to fill
        model = MODELS.build(config).eval()
        logits = model(torch.empty(1, 3, 128, 64), mode='tensor')
    size = (140, 70) if name.startswith('vit-adapter_dinov2') else (128, 64)  # it enlarges the image by 1120 / 1024
    assert logits.shape == (1, 19, size[0] // 4, -(-size[1] // 4))
    network = getattr(model.backbone, 'vit', model.backbone).model
    blocks = getattr(model.backbone, 'vit', model.backbone).blocks
    missing = ([(depth - 1, stage.layers[0]) for depth, stage in zip(depths, blocks)] if 'convnext' in name
               else [(depths[0] - 4, blocks[0])])
    millions = sum(count * parameter.numel() for count, part in [(1, network), *missing]
                   for parameter in part.parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[name.split('_')[1]], abs=0.06)


@pytest.mark.parametrize('name', [name for name in MODEL_CONFIGS if variant_of(name)])
def test_transformer_configs_agree_with_the_table_of_variants(name):
    config = Config.fromfile(BASE / 'models' / f'{name}.py').model
    variant = MIT_VARIANTS[config.backbone.variant]
    assert config.backbone.variant == variant_of(name)
    levels = (config.neck if name.startswith('cicld') else config.decode_head).in_channels
    assert tuple(levels) == variant.channels
    assert config.backbone.init_cfg.checkpoint == variant.weights_url


def test_published_parameter_counts():
    model = build('daformer_sepaspp_mit-b5')
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    assert counts['backbone'] == 81_443_008 and counts['decode_head'] == 3_712_275
    assert sum(p.numel() for p in build('deeplabv2red_r50-d8').decode_head.parameters()) == 700_454
    hrda = build('hrda_daformer_sepaspp_mit-b5', variant=None, embed_dims=64, num_layers=(1, 1, 1, 1)).decode_head
    assert sum(p.numel() for p in hrda.head.parameters()) == 3_712_275
    assert sum(p.numel() for p in hrda.scale_attention.parameters()) == 530_707


@pytest.mark.parametrize('schedule', ['adamw_poly_40k_mit', 'adamw_poly_40k_cnn', 'sgd_poly_40k'])
def test_learning_rate_equals_the_published_one(schedule):
    config = Config.fromfile(BASE / 'schedules' / f'{schedule}.py')
    config.optim_wrapper.pop('paramwise_cfg', None)
    base = config.optim_wrapper.optimizer.lr
    wrapper = build_optim_wrapper(nn.Linear(1, 1), config.optim_wrapper)
    schedulers = [PARAM_SCHEDULERS.build(dict(item, optimizer=wrapper.optimizer)) for item in config.param_scheduler]
    for iteration in range(40000):
        if iteration in PUBLISHED_RATES:
            assert wrapper.get_lr()['lr'][0] == pytest.approx(PUBLISHED_RATES[iteration] * base / 6e-5, rel=1e-9)
        for scheduler in schedulers:
            scheduler.step()


@pytest.fixture
def wrapped():
    """A wrapper with student and teacher, as the method configs build it."""
    segmentor = Config.fromfile(BASE / 'models' / 'daformer_sepaspp_mit-b0.py').model
    segmentor.backbone.init_cfg = None
    return MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, teacher=dict(),
                             objectives=[dict(type='SourceSupervision')]))


def settings_by_name(model: nn.Module, schedule: str) -> dict[str, tuple[float, float]]:
    config = Config.fromfile(BASE / 'schedules' / f'{schedule}.py').optim_wrapper
    groups = build_optim_wrapper(model, config).optimizer.param_groups
    found = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


def test_optimiser_settings_of_each_tensor_are_the_published_ones(wrapped):
    settings = settings_by_name(wrapped, 'adamw_poly_40k_mit')
    assert set(settings) == {f'student.{name}' for name, _ in wrapped.student.named_parameters()}
    norms = {f'student.{name}.{kind}' for name, module in wrapped.student.backbone.named_modules(prefix='backbone')
             if isinstance(module, nn.LayerNorm) for kind in ('weight', 'bias')}
    assert len(norms) == 2 * (4 + 4 + 2 * 8 + 6)  # embeddings, stages, two in each block, spatial reductions
    for name, (rate, decay) in settings.items():
        assert rate == pytest.approx(6e-4 if '.decode_head.' in name else 6e-5), name
        assert decay == (0.0 if name in norms else 0.01), name


def test_cnn_schedule_decays_every_tensor(wrapped):
    assert {decay for _, decay in settings_by_name(wrapped, 'adamw_poly_40k_cnn').values()} == {0.01}
