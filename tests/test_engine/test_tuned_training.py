"""Tuned backbones in a training: one backbone in memory, exact resume, two processes, the start, rates, export."""
import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from test_distributed_training import COMPARABLE
from toy_training import TWO_SCALES, assert_same_run, records, toy_config, train, train_in_children

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint
from mmseg_cicld.engine.exporting import exported_segmentor
from mmseg_cicld.models.backbones import TunedBackbone
from mmseg_cicld.models.frozen_state import frozen_state
from mmseg_cicld.models.tuning.low_rank import changed_layers
from mmseg_cicld.uda import EMATeacher

VIT = dict(type='VisionTransformer', img_size=(32, 32), patch_size=8, embed_dims=16, num_layers=3, num_heads=2,
           mlp_ratio=2, out_indices=(2, ), drop_path_rate=0.1)
LORA = dict(type='LoRATuning', rank=4)
SOMA = dict(LORA, initialisation='smallest_singular')
LAST = dict(type='LastBlocksTuning', blocks=1)
TOKENS = dict(type='LearnableTokens', tokens=4, rank=2)


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


def tuned(tuning: dict, **more) -> dict:
    """Options that give the toy training a tuned ViT."""
    return {'model.segmentor.backbone': dict(type='TunedBackbone', backbone=copy.deepcopy(VIT), tuning=tuning),
            'model.segmentor.decode_head.in_channels': 16, **more}


def storages(module) -> dict[int, int]:
    """Bytes of each memory that parameters and buffers of a module lie in, by its address."""
    tensors = [*module.parameters(), *module.buffers()]
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}


@pytest.mark.parametrize('tuning, share', [(dict(type='FrozenTuning'), 0.01), (LORA, 0.3), (SOMA, 0.3), (LAST, 0.25)])
def test_memory_holds_one_backbone_and_not_two(tuning, share):
    options = tuned(tuning) | {'model.objectives': [
        dict(type='SourceSupervision', feature_distance=dict(classes=None)),
        dict(type='MaskedConsistency', block=8, threshold=0.255, own_teacher=dict(momentum=0.5))]}
    model = MODELS.build(toy_config('none', options=options).model)
    for check in (model, copy.deepcopy(model), model.double().float()):
        student = storages(check.student.backbone)
        for other in (check.teacher.network, check.objectives[1].teacher.network, check.objectives[0].feature_distance.frozen):
            own = {address: size for address, size in storages(other.backbone).items() if address not in student}
            assert sum(own.values()) <= share * sum(student.values())
            assert {name for name, tensor in other.backbone.named_parameters() if tensor.data_ptr() in student} == {
                name for name in check.student.backbone.frozen_names if name in dict(other.backbone.named_parameters())}


def test_batch_norms_of_a_frozen_backbone_are_shared_too():
    student = torch.nn.Module()
    student.backbone = TunedBackbone(dict(type='ResNet', depth=18, base_channels=8, stem_channels=8), dict(type='FrozenTuning'))
    teacher = EMATeacher(student)
    assert set(storages(teacher)) == set(storages(student)) and len(frozen_state(student)) == len(student.state_dict())
    assert not any(module.training for module in teacher.train().network.backbone.backbone.modules())


def test_the_teacher_is_that_with_a_backbone_of_its_own(tmp_path, monkeypatch):
    """Bitwise, if the average of equal values is taken to be that value, which rounding alone keeps it from being."""
    shared = train(tmp_path / 'shared', options=tuned(LORA)).model
    monkeypatch.setattr('mmseg_cicld.models.segmentor_protocol.frozen_state', lambda network: {})
    monkeypatch.setattr('mmseg_cicld.models.segmentor_protocol.share_frozen', lambda network, other: None)
    update = EMATeacher.update

    def averaged(self, student, updates):
        kept = {name: tensor.clone() for name, tensor in frozen_state(self.network).items()}
        if updates:
            update(self, student, updates)
            for name, tensor in frozen_state(self.network).items():
                torch.testing.assert_close(tensor, kept[name], rtol=1e-6, atol=1e-7)
                tensor.data.copy_(kept[name])
        else:
            update(self, student, updates)

    monkeypatch.setattr(EMATeacher, 'update', averaged)
    apart = train(tmp_path / 'apart', options=tuned(LORA)).model
    assert storages(apart.teacher.network.backbone).keys().isdisjoint(storages(apart.student.backbone))
    assert records(tmp_path / 'shared') == records(tmp_path / 'apart')
    for name, value in shared.state_dict().items():
        assert torch.equal(value, apart.state_dict()[name]), name


def test_foreign_weights_of_a_teacher_are_refused(tmp_path):
    model = MODELS.build(toy_config('none', options=tuned(LORA)).model)
    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    name = 'teacher.network.backbone.backbone.cls_token'
    state[name] = state[name] + 1
    with pytest.raises(ValueError, match="cls_token differs from the student's.*Leave the teacher's out of the file"):
        model.load_state_dict(state)


@pytest.mark.parametrize('tuning', [LORA, SOMA, TOKENS], ids=['lora', 'soma', 'tokens'])
def test_resume_is_exact_and_decomposes_nothing(tmp_path, tuning, monkeypatch):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    runner = train(straight, options=tuned(tuning))
    learning = {id(parameter) for parameter in runner.model.parameters() if parameter.requires_grad}
    known = [id(parameter) for group in runner.optim_wrapper.param_groups for parameter in group['params']]
    assert set(known) == learning and len(known) == len(learning), 'the optimiser gets what learns, once'
    train(stopped, options=tuned(tuning, **{'train_cfg.max_iters': 3}))
    monkeypatch.setattr(torch.linalg, 'svd', None)
    train(stopped, options=tuned(tuning, resume=True))
    assert_same_run(straight, stopped)


def test_two_processes_do_what_one_does(tmp_path):
    options = COMPARABLE | tuned(SOMA) | {'model.segmentor.backbone.backbone.drop_path_rate': 0.}
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(one, batch_size=2, options=options)
    assert train_in_children(two, 2, batch_size=1, options=options) == [0, 0]
    alone, *ranks = (torch.load(folder / f'final.rank{rank}', weights_only=True)
                     for folder, rank in ((one, 0), (two, 0), (two, 1)))
    for name, value in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=1e-5, msg=lambda text: f'{name}: {text}')
    name = 'backbone.added.layers.2.ffn.layers.0.0'
    moved = alone[f'student.{name}.A_RI'] - alone[f'student.{name}.start_A_RI']
    assert moved.abs().max() > 1e-4
    # All of it: a teacher whose start was not the student's would be far from it.
    assert (alone[f'teacher.network.{name}.A_RI'] - alone[f'student.{name}.A_RI']).abs().max() < 10 * moved.abs().max()


@pytest.mark.parametrize('whole', [False, True], ids=['segmentor', 'training'])
def test_soma_starts_from_the_weights_that_a_training_is_given(tmp_path, whole):
    bare = {'model.segmentor.backbone': copy.deepcopy(VIT), 'model.segmentor.decode_head.in_channels': 16}
    config = toy_config('none', options=bare).model
    untuned = MODELS.build(config if whole else config.segmentor)
    state = (untuned.student if whole else untuned).state_dict()
    torch.save(dict(state_dict=untuned.state_dict()), tmp_path / 'stock.pth')
    options = tuned(SOMA, load_from=str(tmp_path / 'stock.pth'), **{'train_cfg.max_iters': 1})
    model = train(tmp_path / 'run', options=options).model
    for name, value in model.student.backbone.backbone.state_dict().items():
        assert torch.equal(value, state[f'backbone.{name}']), 'the backbone is that of the file'
    for layer in changed_layers(model.student.backbone.backbone):
        weight = layer._parameters['in_proj_weight' if 'in_proj_weight' in layer._parameters else 'weight']
        start = layer.low_rank.scale * layer.low_rank.start_B_OR @ layer.low_rank.start_A_RI
        torch.testing.assert_close(torch.linalg.svdvals(weight - start)[:-4], torch.linalg.svdvals(weight)[:-4],
                                   rtol=1e-4, atol=1e-6)
    for layer, other in zip(changed_layers(model.student), changed_layers(model.teacher)):
        assert layer.low_rank.start_A_RI is other.low_rank.start_A_RI


@pytest.mark.parametrize('network', ['student', 'teacher'])
@pytest.mark.parametrize('tuning, more', [(LORA, {}), (SOMA, TWO_SCALES), (LAST, {}), (TOKENS, {})],
                         ids=['lora', 'soma_hrda', 'last', 'tokens'])
def test_exported_segmentor_predicts_the_bits_of_the_trained_one(tmp_path, tuning, more, network):
    options = more | tuned(tuning, **{'train_cfg.max_iters': 4, 'default_hooks.checkpoint.interval': 4})
    config = toy_config(str(tmp_path), options=options)
    runner = AdaptationRunner.from_cfg(config)
    runner.train()
    plain, segmentor = exported_segmentor(config, read_checkpoint(tmp_path / 'iter_4.pth'), 'iter_4.pth', network)
    trained = runner.model.student if network == 'student' else runner.model.teacher.network
    inputs, metas = torch.randn(1, 3, 32, 32), [dict(img_shape=(32, 32))]
    with torch.no_grad():
        for each in (trained, segmentor):  # see tiny_tuned.predicted
            each.requires_grad_(False).train(False)
        assert torch.equal(segmentor.encode_decode(inputs, metas), trained.encode_decode(inputs, metas))
    assert plain.model.backbone.type == ('TunedBackbone' if tuning is TOKENS else 'VisionTransformer')
    if not more and tuning is not TOKENS:
        assert 'custom_imports' not in plain, 'stock mmseg loads it'


def test_layer_wise_rates_are_those_of_the_wrapped_backbone():
    sizes = dict(img_size=(32, 32), patch_size=16, embed_dims=16, num_layers=4, num_heads=2, mlp_ratio=2, out_indices=(3, ))
    beit = dict(type='BEiT', qv_bias=True, init_values=.1, **sizes)
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0), paramwise_cfg=dict(
        num_layers=4, decay_rate=.5, decay_type='layer_wise'), constructor='LearningRateDecayOptimizerConstructor')
    options = tuned(LORA) | {'model.segmentor.backbone.backbone': beit}
    config = toy_config('none', options=options)
    for model in (MODELS.build(config.model), MODELS.build(config.model.segmentor)):
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        groups = build_optim_wrapper(model, copy.deepcopy(optim_wrapper)).optimizer.param_groups
        rates = {names[id(parameter)].removeprefix('student.'): group['lr'] for group in groups
                 for parameter in group['params']}
        assert set(rates) == {name.removeprefix('student.') for name, parameter in model.named_parameters()
                              if parameter.requires_grad}
        for block in range(4):
            assert rates[f'backbone.added.layers.{block}.attn.qkv.A_RI'] == .5**(4 - block)
        assert rates['decode_head.conv_seg.weight'] == 1
