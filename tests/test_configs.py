"""Every method config trains one iteration with its networks made small."""
import copy
import functools
import importlib.util
import math
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.models import TunedBackbone

ROOT = Path(__file__).parents[1]
BENCHMARKS = [path for folder in ('source_only', 'dacs', 'daformer', 'hrda', 'mic', 'dida', 'mrm', 'blda', 'masktwins',
                                    'several_domains')
              for path in sorted((ROOT / 'configs' / folder).glob('*.py')) if 'cicld' not in path.stem]
AUTOENCODERS = sorted((ROOT / 'configs').glob('cicld/cicld-pretraining_*.py'))
DENOISERS = sorted((ROOT / 'configs').glob('cicld/cicld-denoiser_*.py'))
PRETRAINING = AUTOENCODERS + DENOISERS
CICLD = [path for path in sorted((ROOT / 'configs').glob('*/*cicld*_1xb2-*k_*.py')) if path not in PRETRAINING]
FOUNDATION = sorted((ROOT / 'configs' / 'vfm_uda').glob('*.py'))
# One of each method and family of networks: the others differ in data, width and rate, see test_foundation_configs.py.
FOUNDATION_KINDS = [path for path in FOUNDATION if '_gta2cityscapes-' in path.stem and (
    '-large_' in path.stem or path.stem.startswith('vfm-uda_dinov2-large-'))]
SOURCE_FREE = sorted((ROOT / 'configs' / 'source_free').glob('*.py'))
CONFIGS = BENCHMARKS + SOURCE_FREE + CICLD + DENOISERS + [path for folder in ('quickstart', 'street')
                        for path in sorted((ROOT / 'configs' / folder).glob('*_street.py'))
                        if not path.stem.startswith('target-')] + FOUNDATION_KINDS
SIZE = (160, 160)  # higher than the margins of DAFormer's pseudo-labels


@functools.cache
def read_once(path: Path) -> Config:
    return Config.fromfile(path)


def read(path: Path) -> Config:
    return copy.deepcopy(read_once(path))


def synthetic_batch(images: int, classes: int) -> dict:
    path = ROOT / 'tools/analysis_tools/benchmark_step.py'
    spec = importlib.util.spec_from_file_location('benchmark_step', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.synthetic_batch(SIZE, images, classes, seed=0)


def shrink(segmentor: dict) -> None:
    """Makes a network small enough for a test; nothing else of the config changes."""
    segmentor.data_preprocessor.size = SIZE
    segmentor.backbone.init_cfg = None
    head = segmentor.decode_head
    if segmentor.backbone.type == 'FusedMixVisionTransformer':
        segmentor.backbone.pop('variant')
        segmentor.backbone.update(embed_dims=8, num_layers=(1, 1, 1, 1))
    if segmentor.backbone.type == 'ViTAdapterBackbone':
        shrink_vit(segmentor.backbone.vit)
        segmentor.backbone.update(inplanes=8, head_channels=16)
        head.in_channels = [32] * 4
    elif segmentor.backbone.type == 'TunedBackbone':
        shrink_vit(segmentor.backbone.backbone)
        if 'first_block' in segmentor.backbone.tuning:
            segmentor.backbone.tuning.first_block = 0
        segmentor.neck.update(in_channels=32, out_channels=16)
        head.update(in_channels=[16] * 4, channels=16)
        head.decoder_params.embed_dims = 16
    elif 'neck' in segmentor:
        shrink_diffusion(segmentor)
    elif segmentor.backbone.type == 'FusedMixVisionTransformer':
        head.update(in_channels=[8, 16, 40, 64], channels=16)
        head.decoder_params.embed_dims = 16
    elif segmentor.backbone.get('depth', 0) > 18:
        segmentor.backbone.update(depth=50, base_channels=4, stem_channels=4)
        head.in_channels = 128
    if segmentor.type == 'HRDAEncoderDecoder':
        segmentor.hr_crop_size = (SIZE[0] // 2, SIZE[1] // 2)
        head.attention_embed_dim = 16


def shrink_vit(vit: dict) -> None:
    vit.weights = None
    vit.model.update(hidden_size=32, num_hidden_layers=4, num_attention_heads=2)
    if 'intermediate_size' in vit.model:
        vit.model.intermediate_size = 64


def shrink_frozen(objectives: list) -> None:
    for objective in objectives:
        if 'network' in objective:
            shrink_vit(objective.network)
            objective.network.out_indices = (3, )
            objective.update(out_channels=32, size=(56, 56))


def shrink_diffusion(segmentor: dict) -> None:
    segmentor.neck.update(latent_channels=4, skip_channels=[8, 8])
    if segmentor.backbone.type == 'AutoencoderEncoder':
        shrink_autoencoder(segmentor.backbone.autoencoder)
        segmentor.neck.in_channels = [16, 16]
    elif segmentor.backbone.type == 'FusedMixVisionTransformer':
        segmentor.neck.in_channels = [8, 16, 40, 64]
    head = segmentor.decode_head
    head.update(in_channels=[8, 8, 4], decoder_channels=[8, 8])
    if head.denoiser is not None:
        blocks = {key: head.denoiser[key][-2:] for key in ('down_block_types', 'up_block_types')}
        head.denoiser.update(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, **blocks)
    if 'mask_encoder' in head:
        head.mask_encoder.update(backbone_channels=32)
        head.mask_encoder.backbone.update(depth=18, base_channels=4, stem_channels=4, init_cfg=None)


def shrink_autoencoder(autoencoder: dict) -> None:
    autoencoder.update(block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4)


def train_one_iteration(config: Config) -> None:
    shrink(config.model.segmentor)
    for objective in config.model.objectives:
        if objective.type == 'MaskedRepresentationModeling':
            objective.update(width=16, heads=2)
        elif objective.type == 'BalancedLogits':
            objective.update(samples=1024)
    shrink_frozen(config.model.objectives)
    model = MODELS.build(config.model).train()
    if isinstance(model.student.backbone, TunedBackbone):
        model.student.backbone.start()  # as the runner does it once weights are loaded
    optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = model.student.decode_head.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    log = model.train_step(synthetic_batch(2, model.student.decode_head.num_classes), optim_wrapper)
    assert all(math.isfinite(value) for value in log.values())
    after = model.student.decode_head.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    names = {id(p): name for name, p in model.named_parameters()}
    optimised = {names[id(p)] for group in optim_wrapper.optimizer.param_groups for p in group['params']}
    assert optimised >= {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture(scope='module')
def trained() -> set[str]:
    """Models and optimisers that have trained: of configs that differ in their data alone the first is enough."""
    return set()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_trains_one_iteration(path, trained):
    config = read(path)
    init_default_scope(config.default_scope)
    given = repr((config.default_scope, config.model, config.optim_wrapper))
    if given not in trained:
        train_one_iteration(config)
        trained.add(given)
    assert given in trained


@pytest.mark.parametrize('path', AUTOENCODERS, ids=lambda path: path.stem)
def test_autoencoders_train_one_iteration(path):
    config = read(path)
    init_default_scope(config.default_scope)
    shrink_autoencoder(config.model.autoencoder)
    config.model.data_preprocessor.size = SIZE
    config.model.perceptual.network.update(base_channels=4, stem_channels=4, init_cfg=None)
    config.model.adversary.update(start=0, channels=4)
    model = MODELS.build(config.model).train()
    log = model.train_step(synthetic_batch(2, 19), build_optim_wrapper(model, config.optim_wrapper))
    assert all(math.isfinite(value) for value in log.values()) and 'loss_discriminator' in log
    assert config.val_cfg is config.val_dataloader is config.val_evaluator is None


@pytest.mark.parametrize('path', CONFIGS + AUTOENCODERS + [path for path in FOUNDATION if path not in CONFIGS],
                         ids=lambda path: path.stem)
def test_imports_the_package_once_and_resumes_exactly(path):
    config = read(path)
    assert config.custom_imports.imports == ['mmseg_cicld']
    assert config.runner_type == 'AdaptationRunner'
    assert config.train_cfg.type == 'ExactResumeTrainLoop'
    assert config.train_dataloader.sampler.type == 'KeyedInfiniteSampler'


# Crop side, momentum of the teacher, share of a rare class, rows without pseudo-labels, masked consistency.
ROWS = dict(ignore_top=15, ignore_bottom=120)
PUBLISHED = {
    'source-only': (512, None, None, {}, None),
    'dacs': (512, 0.99, None, {}, None),
    'daformer': (512, 0.999, 0.5, ROWS, None),
    'hrda': (1024, 0.999, 2.0, {}, None),
    'mic-dacs': (512, 0.99, None, {}, dict(block=32)),
    'mic-daformer': (512, 0.999, 0.5, ROWS, dict(block=32, **ROWS)),
    'mic-hrda': (1024, 0.999, 2.0, {}, dict(block=64)),
    'mic-hrda to adverse': (1024, 0.999, 2.0, {}, dict(block=64, images='both', augment=False)),
}


# What a method adds to its host, by the network and the host's rows without pseudo-labels.
ADDITIONS = dict(
    dida=lambda network, rows: dict(type='DegradationConsistency', threshold=0.968,
                                    weights='paper_deeplabv2' if network == 'dlv2' else 'paper'),
    mrm=lambda network, rows: dict(type='MaskedRepresentationModeling', threshold=0.968, **rows,
                                   **(dict(levels=[3]) if network == 'dlv2' else {})),
    blda=lambda network, rows: dict(type='BalancedLogits', strength=0.1),
    masktwins=lambda network, rows: dict(type='ComplementaryMasking', block=32 if rows else 64, threshold=0.968, **rows),
)


@pytest.mark.parametrize('path', BENCHMARKS, ids=lambda path: path.stem)
def test_settings_are_the_published_ones(path):
    config, method = read(path), path.stem.split('_')[0]
    added = next((name for name in ADDITIONS if method.startswith(f'{name}-')), None)
    method = method.removeprefix(f'{added}-')
    adverse = method == 'mic-hrda' and 'cityscapes2' in path.stem
    side, momentum, share, rows, masked = PUBLISHED[method + ' to adverse' * adverse]
    assert path.stem.endswith(f'{side}x{side}')
    assert config.model.segmentor.data_preprocessor.size == config.crop_size == (side, side)
    assert (config.model.segmentor.type == 'HRDAEncoderDecoder') == (side == 1024)
    assert config.model.teacher == (momentum and dict(momentum=momentum))
    rare = config.train_dataloader.dataset.get('rare_class_sampling')
    assert rare == (share and dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=share))
    expected = [dict(type='SourceSupervision')]
    if share:
        expected[0].update(feature_distance=dict(weight=0.005, classes='things', min_ratio=0.75))
    if momentum:
        expected.append(dict(type='ClassMixSelfTraining', threshold=0.968, **rows))
    if masked:
        expected.append(dict(type='MaskedConsistency', ratio=0.7, threshold=0.968, **masked))
    if added:
        expected.append(ADDITIONS[added](network='dlv2' if 'dlv2' in path.stem else 'mit', rows=rows))
    assert config.model.objectives == expected
    rates = {key: value.lr_mult for key, value in config.optim_wrapper.paramwise_cfg.custom_keys.items()}
    assert rates == dict(head=10, **({'rebuilder': 10 / 3} if added == 'mrm' else {}))


@pytest.mark.parametrize('path', CICLD, ids=lambda path: path.stem)
def test_settings_of_cicld_are_those_of_the_paper_where_it_gives_them(path):
    config = read(path)
    assert config.model.evaluate == 'teacher' and config.model.teacher == dict(momentum=0.999)
    assert config.model.objectives[0] == dict(type='SourceSupervision') or 'stage2' in path.stem
    assert config.crop_size == config.model.segmentor.data_preprocessor.size
    one_step = 'one-step' in path.stem
    assert config.optim_wrapper.optimizer.lr == (6e-6 if one_step else 6e-5)
    assert config.train_cfg.max_iters == (10000 if one_step else 40000)
    assert config.optim_wrapper.paramwise_cfg.custom_keys.denoiser == dict(lr_mult=1.0)
    assert config.train_dataloader.batch_size == 2
    assert config.model.segmentor.decode_head.inference.steps == (1 if one_step else 50)
    degraded = dict(type='DegradationConsistency', weights='paper', threshold=0.968)
    assert (config.model.objectives[-1] == degraded) == path.stem.startswith('dida')


@pytest.mark.parametrize('path', ['cicld/cicld-one-step_mit-b5_1xb2-10k_gta2cityscapes-512x512',
                                  'cicld/cicld-one-step_mit-b5_1xb2-10k_synthia2cityscapes-512x512',
                                  'street/cicld-one-step_street'])
def test_one_step_learns_in_every_part_and_predicts_what_it_learned(path):
    """In training as in prediction: one step from the same timestep, without noise."""
    config = Config.fromfile(ROOT / f'configs/{path}.py')
    shrink(config.model.segmentor)
    init_default_scope('mmseg')
    model = MODELS.build(config.model).train()
    before = {name: value.clone() for name, value in model.student.named_parameters()}
    log = model.train_step(synthetic_batch(2, 19), build_optim_wrapper(model, config.optim_wrapper))
    assert not any('noise' in name for name in log)
    moved = [name for name, value in model.student.named_parameters() if not torch.equal(before[name], value)]
    for part in ('backbone.', 'neck.', 'decode_head.denoiser.', 'decode_head.decoder.'):
        assert any(name.startswith(part) for name in moved), part
    head = model.student.decode_head
    features = model.student.extract_feat(torch.rand(1, 3, *SIZE))
    logits, losses = head.eval().training_logits(features, torch.zeros(1, *SIZE, dtype=torch.long), seeds=[3])
    assert losses == {} and head.steps == 1
    torch.testing.assert_close(logits, head(features))


@pytest.mark.parametrize('stage, options', [
    ('', {'neck.connect': False, 'decode_head.in_channels': [64]}),
    ('', {'decode_head.condition': 'none'}),
    ('-stage1', {'decode_head.denoiser': None}),
    ('', {'decode_head.inference.steps': 0, 'decode_head.training.prediction_steps': 0}),
    ('', {'decode_head.training.decoder_input': 'latent'}),
    ('', {'decode_head.inference.steps': 5, 'decode_head.inference.noise': 'zero', 'decode_head.inference.start': 499}),
    ('', {'decode_head.scheduler.type': 'DPMSolverMultistepScheduler'}),
], ids=lambda value: '-'.join(value) if isinstance(value, dict) else value)
def test_ablations_of_cicld_train(stage, options):
    config = Config.fromfile(ROOT / f'configs/street/cicld{stage}_street.py')
    config.merge_from_dict({f'model.segmentor.{key}': value for key, value in options.items()})
    config.model.segmentor.backbone.init_cfg = None
    config.model.segmentor.data_preprocessor.size = SIZE
    init_default_scope('mmseg')
    model = MODELS.build(config.model).train()
    log = model.train_step(synthetic_batch(2, 19), build_optim_wrapper(model, config.optim_wrapper))
    assert math.isfinite(log['loss'])


def test_number_of_classes_of_own_data_follows_from_its_list(tmp_path):
    config = Config.fromfile(ROOT / 'configs/own_data/dacs_mit-b0_1xb2-40k_own-512x512.py')
    (tmp_path / 'classes.txt').write_text('field\nwater\nroof\n')
    for dataset in (config.train_dataloader.dataset.source, config.train_dataloader.dataset.target,
                    config.val_dataloader.dataset, config.test_dataloader.dataset):
        dataset.metainfo = dict(classes=str(tmp_path / 'classes.txt'))
    init_default_scope('mmseg')
    assert check_num_classes(config) == 3
    shrink(config.model.segmentor)
    model = MODELS.build(config.model).train()
    log = model.train_step(synthetic_batch(2, 3), build_optim_wrapper(model, config.optim_wrapper))
    assert model.student.decode_head.num_classes == 3 and math.isfinite(log['loss'])


def test_model_index_names_files_that_are_there():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    listed = set()
    for metafile in index['Import']:
        for model in yaml.safe_load((ROOT / metafile).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), model['Config']
            listed.add((ROOT / model['Config']).name)
    assert listed == {path.name for path in BENCHMARKS + SOURCE_FREE + CICLD + PRETRAINING + FOUNDATION}
