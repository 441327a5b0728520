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
                      constructor=constructor, paramwise_cfg=dict(num_layers=4, **paramwise_cfg))


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


def test_the_runner_refuses_the_class(tmp_path):
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path)))
    with pytest.raises(ValueError, match='give its name'):
        runner.build_optim_wrapper(_optim_wrapper(LearningRateDecayOptimizerConstructor, decay_rate=.9))
