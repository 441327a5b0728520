"""Layer-wise learning rates: each parameter of a student has the rate that stock mmseg gives it in a bare segmentor."""
import copy

import pytest
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmseg.registry import MODELS
from toy_training import toy_config

from mmseg_cicld.engine import AdaptationRunner
from mmseg_cicld.engine.layer_decay import refuse_stock_layer_decay

SIZES = dict(img_size=(32, 32), embed_dims=16, num_layers=4, num_heads=2, mlp_ratio=2, out_indices=(3, ))
BEIT = dict(type='BEiT', patch_size=16, qv_bias=True, init_values=.1, **SIZES)
MAE = dict(type='MAE', patch_size=16, init_values=1.0, **SIZES)


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def _optim_wrapper(constructor, **paramwise_cfg) -> ConfigDict:
    return ConfigDict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.05),
                      constructor=constructor, paramwise_cfg={'num_layers': 4, **paramwise_cfg})


def _model(backbone: dict, objectives: list[dict] | None = None):
    cfg = toy_config('none').model
    cfg.segmentor.backbone = backbone
    cfg.segmentor.decode_head.in_channels = 16
    cfg.objectives = objectives or cfg.objectives
    return cfg


def _settings(model, optim_wrapper: ConfigDict) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, copy.deepcopy(optim_wrapper)).optimizer.param_groups
    return {names[id(parameter)]: (group['lr'], group['weight_decay']) for group in groups
            for parameter in group['params']}


@pytest.mark.filterwarnings('ignore:DeprecationWarning')
@pytest.mark.parametrize('backbone', [BEIT, MAE], ids=['BEiT', 'MAE'])
@pytest.mark.parametrize('name, paramwise', [
    ('LearningRateDecayOptimizerConstructor', dict(decay_rate=.9, decay_type='layer_wise')),
    ('LayerDecayOptimizerConstructor', dict(layer_decay_rate=.8)),
])
def test_rates_are_those_of_the_bare_segmentor(backbone, name, paramwise):
    cfg = _model(backbone)
    wrapped = _settings(MODELS.build(cfg), _optim_wrapper(name, **paramwise))
    bare = MODELS.build(cfg.segmentor)
    expected = _settings(bare, _optim_wrapper(name, **paramwise))
    assert wrapped == {f'student.{parameter}': setting for parameter, setting in expected.items()}
    assert len({rate for rate, _ in expected.values()}) > 4, 'the rates do differ'


def test_rates_of_a_bare_segmentor_are_those_of_mmsegs_own_class():
    bare, paramwise = MODELS.build(_model(BEIT).segmentor), dict(decay_rate=.9, decay_type='layer_wise')
    by_name = _settings(bare, _optim_wrapper('LearningRateDecayOptimizerConstructor', **paramwise))
    assert by_name == _settings(bare, _optim_wrapper(LearningRateDecayOptimizerConstructor, **paramwise))


def test_what_is_trained_beside_the_student_has_the_base_rate():
    objectives = [dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial')]
    model = MODELS.build(_model(BEIT, objectives))
    settings = _settings(model, _optim_wrapper('LearningRateDecayOptimizerConstructor', decay_rate=.9,
                                               decay_type='layer_wise'))
    assert set(settings) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    beside = {name: setting for name, setting in settings.items() if not name.startswith('student.')}
    assert beside and all(setting == (1e-3, 0. if name.endswith('.bias') else .05) for name, setting in beside.items())


def test_other_backbones_and_the_class_itself_are_refused():
    decay = _optim_wrapper('LearningRateDecayOptimizerConstructor', decay_rate=.9, decay_type='layer_wise')
    model = toy_config('none').model
    with pytest.raises(ValueError, match='optim_wrapper.constructor .* not to ToyBackbone: change'):
        build_optim_wrapper(MODELS.build(model), decay)
    with pytest.raises(ValueError, match="give its name, optim_wrapper.constructor='LearningRateDecay"):
        refuse_stock_layer_decay(_optim_wrapper(LearningRateDecayOptimizerConstructor))


DINOV2 = dict(type='TransformersBackbone', model=dict(
    model_type='dinov2', hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28))
ADAPTER = dict(type='ViTAdapterBackbone', vit=dict(model=DINOV2['model']), inplanes=8, head_channels=16)
VFM = dict(decay_rate=.9, backbone_scale=.1, decay_all=True)


@pytest.mark.parametrize('backbone', [DINOV2, ADAPTER], ids=['alone', 'in an adapter'])
@pytest.mark.parametrize('wrapped', [False, True])
def test_rates_of_a_transformer_fall_from_the_top_block_to_the_stem(backbone, wrapped):
    cfg = _model(backbone)
    decay = _optim_wrapper('LearningRateDecayOptimizerConstructor', **VFM)
    settings = _settings(MODELS.build(cfg if wrapped else cfg.segmentor), decay)
    inside = ('student.' if wrapped else '') + ('backbone.vit.model.' if 'vit' in backbone else 'backbone.model.')
    expected = {f'encoder.layer.{index}.': .1 * .9**(3 - index) for index in range(4)}
    expected.update({'embeddings.': .1 * .9**4, 'layernorm.': .1})
    assert {name for name in settings if name.startswith(inside)}
    for name, (rate, weight_decay) in settings.items():
        scale = next((value for start, value in expected.items() if name.startswith(inside + start)), 1.)
        assert rate == pytest.approx(1e-3 * scale) and weight_decay == .05, name
        assert (scale == 1.) == (not name.startswith(inside)), name


def test_what_tunes_a_block_has_the_rate_of_the_block():
    tuned = dict(type='TunedBackbone', backbone=DINOV2, tuning=dict(type='LoRATuning', rank=2))
    settings = _settings(MODELS.build(_model(tuned).segmentor), _optim_wrapper('LearningRateDecayOptimizerConstructor', **VFM))
    rates = {name.split('layer.')[1][0]: rate for name, (rate, _) in settings.items() if name.startswith('backbone.added.')}
    assert rates == pytest.approx({str(index): 1e-4 * .9**(3 - index) for index in range(4)})


def test_a_transformer_keeps_mmsegs_rule_of_weight_decay_unless_all_is_decayed():
    student = MODELS.build(_model(DINOV2).segmentor)
    settings = _settings(student, _optim_wrapper('LearningRateDecayOptimizerConstructor', decay_rate=.9))
    sizes = {name: parameter.ndim for name, parameter in student.named_parameters()}
    assert all(weight_decay == (0. if sizes[name] == 1 or name.endswith('.bias') else .05)
               for name, (_, weight_decay) in settings.items())
    assert settings['backbone.model.encoder.layer.3.norm1.weight'][0] == pytest.approx(1e-3)


@pytest.mark.parametrize('paramwise, words', [
    (dict(decay_rate=.9, decay_type='stage_wise'), "decay_type is 'stage_wise'; TransformersBackbone takes layer_wise"),
    (dict(decay_rate=.9, num_layers=12), 'num_layers is 12, but the backbone has 4 blocks: remove it'),
    (dict(), 'decay_rate is not given'),
])
def test_settings_that_a_transformer_does_not_have_are_refused(paramwise, words):
    decay = _optim_wrapper('LearningRateDecayOptimizerConstructor', **paramwise)
    with pytest.raises(ValueError, match=words):
        build_optim_wrapper(MODELS.build(_model(DINOV2)), decay)


def test_the_runner_refuses_the_class(tmp_path):
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path)))
    with pytest.raises(ValueError, match='give its name'):
        runner.build_optim_wrapper(_optim_wrapper(LearningRateDecayOptimizerConstructor, decay_rate=.9))
