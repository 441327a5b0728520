"""A tuned transformer inside a ViT adapter: what learns, one transformer in memory, exact resume, checkpoints, export."""
import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from test_tuned_training import LAST, LORA, SOMA, TOKENS, storages
from toy_training import assert_same_run, toy_config, train

from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.engine.exporting import exported_segmentor
from mmseg_cicld.models.tuning.low_rank import changed_layers

VIT = dict(model_type='dinov2', image_size=56, patch_size=8, hidden_size=16, num_hidden_layers=4, num_attention_heads=2)
ADAPTER = dict(type='ViTAdapterBackbone', vit=dict(model=VIT), inplanes=8, head_channels=8)
BESIDE = ('prior.', 'level_embeddings', 'injectors.', 'extractors.', 'extra_extractors.', 'finer.', 'norms.')
FROZEN = dict(type='FrozenTuning')


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


def tuned(tuning: dict, **more) -> dict:
    backbone = dict(type='TunedBackbone', backbone=copy.deepcopy(ADAPTER), tuning=tuning)
    return {'model.segmentor.backbone': backbone, 'model.segmentor.decode_head.in_channels': 16,
            'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None, **more}


@pytest.mark.parametrize('tuning', [LORA, SOMA, LAST, TOKENS, FROZEN], ids=['lora', 'soma', 'last', 'tokens', 'frozen'])
def test_the_adapter_learns_whole_and_of_the_transformer_what_the_tuning_says(tuning):
    network = MODELS.build(tuned(tuning)['model.segmentor.backbone'])
    network.init_weights()
    network.start()
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    beside = {name for name, _ in network.backbone.named_parameters() if name.startswith(BESIDE)}
    assert beside and {f'backbone.{name}' for name in beside} <= learning
    inside = {name for name in learning if '.vit.' in name}
    blocks = {name.split('.layer.')[1][0] for name in inside if '.layer.' in name}
    assert blocks == (set('0123') if tuning in (LORA, SOMA) else {'3'} if tuning is LAST else set())
    assert all(name.startswith('added.') for name in inside if tuning is not LAST)
    network.train()
    for part in network.backbone.injectors:
        part.gamma.data.fill_(0.1)
    sum(level.square().mean() for level in network(torch.randn(2, 3, 32, 32))).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    norms = [module for module in network.backbone.norms.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and all(module.training for module in norms), 'batch norms of the adapter learn'


def test_memory_holds_one_transformer():
    model = MODELS.build(toy_config('none', options=tuned(LORA)).model)
    student, teacher = (storages(network.backbone) for network in (model.student, model.teacher.network))
    vit = storages(model.student.backbone.backbone.vit)
    assert set(vit) <= set(teacher) and len(set(teacher) & set(student)) < len(student)
    assert sum(vit.values()) > 0.3 * sum(student.values())


@pytest.mark.parametrize('trained_only', [False, True], ids=['whole', 'trained_only'])
def test_resume_is_exact_and_export_has_the_bits_of_the_trained_network(tmp_path, trained_only, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    torch.save(MODELS.build(copy.deepcopy(ADAPTER)).vit.model.state_dict(), 'published.pth')
    options = tuned(SOMA, **{'default_hooks.checkpoint.trained_only': trained_only})
    options['model.segmentor.backbone']['backbone']['vit']['weights'] = 'published.pth'
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    model = train(straight, options=options).model
    train(stopped, options=options | {'train_cfg.max_iters': 3})
    train(stopped, options=options | {'resume': True})
    assert_same_run(straight, stopped)
    checkpoint = read_checkpoint(straight / 'iter_8.pth')
    names = [name for name in checkpoint['state_dict'] if name.startswith('student.backbone.backbone.')]
    assert any('.prior.' in name for name in names)
    assert any('.vit.' in name for name in names) != trained_only
    config = toy_config(str(straight), options=options)
    plain, segmentor = exported_segmentor(config, checkpoint, 'iter_8.pth', 'student')
    assert plain.model.backbone.type == 'ViTAdapterBackbone' and plain.model.backbone.vit.weights is None
    assert not changed_layers(segmentor) and changed_layers(model.student)
    inputs, metas = torch.randn(1, 3, 32, 32), [dict(img_shape=(32, 32))]
    with torch.no_grad():
        for each in (model.student, segmentor):
            each.requires_grad_(False).train(False)
        assert torch.equal(segmentor.encode_decode(inputs, metas), model.student.encode_decode(inputs, metas))


def test_an_adapter_that_was_trained_before_is_taken_with_its_transformer(tmp_path):
    """A checkpoint of the network without tuning, such as that of ImageNet, begins a tuned training."""
    bare = {'model.segmentor.backbone': copy.deepcopy(ADAPTER), 'model.segmentor.decode_head.in_channels': 16}
    segmentor = MODELS.build(toy_config('none', options=bare).model.segmentor)
    segmentor.init_weights()
    torch.save(dict(state_dict=segmentor.state_dict()), tmp_path / 'before.pth')
    options = tuned(LORA, load_from=str(tmp_path / 'before.pth'), **{'train_cfg.max_iters': 1, 'optim_wrapper.optimizer.lr': 0.})
    model = train(tmp_path / 'run', options=options).model
    expected = dict(segmentor.backbone.named_parameters())
    for name, value in model.student.backbone.backbone.named_parameters():
        assert torch.equal(value, expected[name]), name


def test_rates_by_layer_reach_what_was_added_inside_the_adapter():
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0), paramwise_cfg=dict(decay_rate=.5),
                         constructor='LearningRateDecayOptimizerConstructor')
    model = MODELS.build(toy_config('none', options=tuned(LORA)).model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, optim_wrapper).optimizer.param_groups
    rates = {names[id(parameter)]: group['lr'] for group in groups for parameter in group['params']}
    found = {name: rate for name, rate in rates.items() if '.added.' in name}
    assert {name.split('.layer.')[1][0]: rate for name, rate in found.items()} == {str(i): .5**(3 - i) for i in range(4)}
    assert all(rate == 1 for name, rate in rates.items() if '.added.' not in name)
