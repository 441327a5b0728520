"""Tuned backbones: what learns, where they start, what they compute, and what is left when it is merged."""
import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_tuned import BACKBONES, LORA, SOMA, built, images, learnt, predicted
from torch import nn

from mmseg_cicld.models.tuning.blocks import blocks_of
from mmseg_cicld.models.tuning.low_rank import changed_layers, low_rank_layers

FROZEN, LAST = dict(type='FrozenTuning'), dict(type='LastBlocksTuning', blocks=1)


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


def trained(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def _stored(layer: nn.Module) -> torch.Tensor:
    return layer._parameters['in_proj_weight' if isinstance(layer, nn.MultiheadAttention) else 'weight']


def same(one, other) -> bool:
    return len(one) == len(other) and all(torch.equal(*pair) for pair in zip(one, other))


CASES = [(name, tuning) for name in BACKBONES for tuning in (LORA, SOMA)] + [('vit', FROZEN), ('swin', LAST)]


@pytest.mark.parametrize('name, tuning', CASES)
def test_before_the_first_step_it_computes_what_the_backbone_does(name, tuning):
    plain, tuned = built(name, None), built(name, tuning)
    assert same(predicted(plain), predicted(tuned))
    if tuning in (LORA, SOMA):
        # torch takes other kernels for some layers whose weights ask for no gradients, so the same ones do here.
        changed = {id(_stored(layer)) for layer in changed_layers(tuned.backbone)}
        for parameter, theirs in zip(plain.parameters(), tuned.backbone.parameters()):
            parameter.requires_grad_(id(theirs) in changed)
        plain.train()
        # Maps of one place have no layout by which a kernel is chosen.
        inputs = images(size=64 if name in ('mit', 'fused') else 32)
        assert same(plain(inputs), tuned.train()(inputs)), 'bitwise, in training mode too'


@pytest.mark.parametrize('name, tuning', CASES)
def test_merged_weights_are_the_backbones_and_compute_the_same_bits(name, tuning):
    tuned = learnt(built(name, tuning))
    merged = copy.deepcopy(tuned).merge()
    plain = MODELS.build(copy.deepcopy(BACKBONES[name]))
    plain.load_state_dict(merged.state_dict())
    assert same(predicted(tuned), predicted(plain))
    assert not changed_layers(merged)
    assert [type(module) for module in merged.modules()] == [type(module) for module in plain.modules()]
    if tuning is not FROZEN:
        assert not same(predicted(plain), predicted(built(name, None)))


@pytest.mark.parametrize('name', BACKBONES)
def test_training_computes_what_the_merged_backbone_does_and_everything_learns(name):
    tuned = learnt(built(name, LORA))
    plain = copy.deepcopy(tuned).merge()
    tuned.train()
    plain.train()
    for one, other in zip(tuned(images()), plain(images())):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    sum(level.square().mean() for level in tuned(images())).backward()
    assert trained(tuned) == {key for key, _ in tuned.named_parameters() if key.startswith('added.')}
    assert all(parameter.grad.abs().max() > 0 for parameter in tuned.parameters() if parameter.requires_grad)
    assert all(parameter.grad is None for parameter in tuned.backbone.parameters())


@pytest.mark.parametrize('layer, inputs', [(nn.Linear(6, 5), (2, 7, 6)), (nn.Conv2d(6, 5, 1), (2, 6, 3, 4))])
@pytest.mark.parametrize('tuning', [LORA, SOMA], ids=['lora', 'soma'])
def test_the_formula_in_float64(layer, inputs, tuning):
    """W x + alpha / r B A x, and SoMA's (W - alpha / r B0 A0) x + alpha / r B A x."""
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([copy.deepcopy(layer).double()])

        def forward(self, x):
            return self.blocks[0](x)

    MODELS.register_module(name='FormulaNetwork', module=Network, force=True)
    tuned = MODELS.build(dict(type='TunedBackbone', backbone=dict(type='FormulaNetwork'), tuning=dict(tuning, rank=2)))
    tuned.start()
    learnt(tuned)
    change, own = tuned.added.blocks.get_submodule('0'), tuned.backbone.blocks[0]
    weight, bias = own._parameters['weight'].flatten(1), own.bias
    residual = weight - 4 * change.start_B_OR @ change.start_A_RI if tuning is SOMA else weight
    x = torch.randn(inputs, dtype=torch.float64)
    rows = x.movedim(1, -1) if x.ndim == 4 else x
    expected = rows @ residual.T + 4 * rows @ change.A_RI.T @ change.B_OR.T + bias
    for mode in (True, False):
        out = tuned.train(mode)(x)
        torch.testing.assert_close(out.movedim(1, -1) if x.ndim == 4 else out, expected)


def test_soma_starts_along_the_smallest_singular_directions():
    tuned = built('dinov2', SOMA)
    for layer in changed_layers(tuned.backbone):
        change, weight = layer.low_rank, layer._parameters['weight']
        U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
        start = change.scale * (change.B_OR @ change.A_RI).double()
        torch.testing.assert_close(start, (U[:, -4:] * S[-4:]) @ Vh[-4:], rtol=1e-4, atol=1e-5)
        kept = torch.linalg.svdvals(weight.double() - start)
        torch.testing.assert_close(kept[:-4], S[:-4], rtol=1e-4, atol=1e-5)
        assert kept[-4:].max() < 1e-5, 'the residual holds nothing of them'
        assert torch.equal(change.A_RI, change.start_A_RI) and torch.equal(change.B_OR, change.start_B_OR)
        torch.testing.assert_close(change.B_OR.norm(dim=0), change.A_RI.norm(dim=1), rtol=1e-4, atol=1e-5)
    assert not tuned.start(), 'once is enough'


def test_lora_is_that_of_peft():
    peft = pytest.importorskip('peft')
    layer = nn.Sequential(nn.Linear(12, 10))
    theirs = peft.inject_adapter_in_model(peft.LoraConfig(r=4, lora_alpha=8, target_modules=['0']), copy.deepcopy(layer))
    MODELS.register_module(name='OneLinear', module=lambda: _with_blocks(layer), force=True)
    ours = learnt(MODELS.build(dict(type='TunedBackbone', backbone=dict(type='OneLinear'), tuning=LORA)))
    change = ours.added.blocks.get_submodule('0')
    with torch.no_grad():
        theirs[0].lora_A['default'].weight.copy_(change.A_RI)
        theirs[0].lora_B['default'].weight.copy_(change.B_OR)
    x = torch.randn(3, 5, 12)
    torch.testing.assert_close(ours.train()(x), theirs(x), rtol=1e-6, atol=1e-6)
    theirs[0].merge()
    torch.testing.assert_close(ours.merge().blocks[0].weight, theirs[0].base_layer.weight, rtol=1e-6, atol=1e-6)


def _with_blocks(sequential: nn.Sequential) -> nn.Module:
    network = nn.Module()
    network.blocks = copy.deepcopy(sequential)
    network.forward = lambda x: network.blocks(x)
    return network


def test_what_is_trained_by_last_blocks():
    assert trained(built('vit', LAST)) == {
        f'backbone.{name}' for name, _ in built('vit', None).named_parameters()
        if name.startswith(('layers.2.', 'ln1.'))}
    stages = {name.split('.')[2] for name in trained(built('mit', dict(LAST, blocks=2)))}
    assert stages == {'2', '3'}
    assert trained(built('mit', dict(LAST, blocks=1))) == {
        f'backbone.{name}' for name, _ in built('mit', None).named_parameters()
        if name.startswith(('layers.3.1.', 'layers.3.2.'))}, 'not the patch embedding before the block'
    assert trained(built('swin', FROZEN)) == set()


def test_targets_and_first_block_choose_the_layers():
    tuned = built('dinov2', dict(LORA, targets=('q_proj', 'fc1'), first_block=1))
    names = {name.rsplit('.', 1)[0] for name in trained(tuned)}
    assert {name.split('.')[-1] for name in names} == {'q_proj', 'fc1'} and len(names) == 4
    assert len(trained(built('vit', LORA))) == 2 * 3 * len(('in_proj', 'out_proj', 'fc1', 'fc2'))
    tuned = built('vit', dict(LORA, targets=['in_proj']))
    assert len(trained(tuned)) == 6 and {name.split('.')[-2] for name in trained(tuned)} == {'in_proj'}


@pytest.mark.parametrize('name, options, said', [
    ('swin', dict(targets=['q_proj']), r"targets holds 'q_proj', with which no linear layer ends; from block 0 on "
     r"SwinTransformer has \['attn.w_msa.proj', 'attn.w_msa.qkv', 'ffn.layers.0.0', 'ffn.layers.1'\]"),
    ('vit', dict(rank=17), 'rank is 17, allowed are 1 to 16'),
    ('vit', dict(first_block=3), 'first_block is 3, allowed are 0 to 2'),
    ('vit', dict(alpha=0), 'alpha is 0, allowed are values above 0'),
    ('vit', dict(initialisation='pissa'), "initialisation is 'pissa', allowed are"),
])
def test_wrong_arguments_are_named(name, options, said):
    with pytest.raises(ValueError, match=said):
        built(name, dict(LORA, **options))


def test_networks_that_do_not_fit_are_named():
    with pytest.raises(TypeError, match='is a ResNet, whose blocks are not known'):
        MODELS.build(dict(type='TunedBackbone', backbone=dict(type='ResNet', depth=18), tuning=LORA))
    with pytest.raises(ValueError, match='blocks is 4, allowed are 1 to 3'):
        built('vit', dict(LAST, blocks=4))
    with pytest.raises(ValueError, match='init_cfg=.*move it into the backbone'):
        MODELS.build(dict(type='TunedBackbone', backbone=BACKBONES['vit'], tuning=LORA, init_cfg=dict(type='Kaiming')))


def test_what_does_not_learn_stays_in_evaluation_mode():
    resnet = MODELS.build(dict(type='TunedBackbone', backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
                               tuning=FROZEN)).train()
    before = copy.deepcopy(resnet.state_dict())
    resnet(images())
    assert all(torch.equal(before[name], value) for name, value in resnet.state_dict().items())
    vit = built('vit', dict(LORA, first_block=1)).train()
    modes = {name: any(module.training for module in block.modules() if not list(module.children()))
             for name, block in enumerate(blocks_of(vit.backbone))}
    assert modes == {0: False, 1: True, 2: True} and vit.training
    assert not vit.eval().backbone.layers[2].training


def test_pretrained_weights_of_the_backbone_load_by_its_own_init_cfg(tmp_path):
    published = built('vit', None)
    torch.save(published.state_dict(), tmp_path / 'vit.pth')
    for init_cfg in (dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth')),
                     dict(type='VerifiedPretrained', checkpoint=str(tmp_path / 'vit.pth'))):
        if init_cfg['type'] == 'VerifiedPretrained':
            pytest.importorskip('safetensors')
        backbone = dict(BACKBONES['vit'], init_cfg=init_cfg)
        tuned = MODELS.build(dict(type='TunedBackbone', backbone=backbone, tuning=SOMA))
        tuned.init_weights()
        tuned.start()
        assert all(torch.equal(value, published.state_dict()[name]) for name, value in tuned.backbone.state_dict().items())
        assert same(predicted(tuned), predicted(published))


def test_soma_refuses_to_train_before_it_has_started():
    tuned = MODELS.build(dict(type='TunedBackbone', backbone=copy.deepcopy(BACKBONES['vit']), tuning=SOMA))
    tuned.init_weights()
    with pytest.raises(RuntimeError, match="runner_type='AdaptationRunner', or call start"):
        tuned.train()(images())


def test_a_copy_is_independent_and_keeps_its_changes():
    tuned = learnt(built('beit', LORA))
    other = copy.deepcopy(tuned)
    assert same(predicted(tuned), predicted(other))
    learnt(other, seed=5)
    assert not same(predicted(tuned), predicted(other))
    assert {id(layer.low_rank) for layer in changed_layers(other.backbone)} == {
        id(module) for module in other.added.modules() if hasattr(module, 'A_RI')}


@pytest.mark.parametrize('name', ['vit', 'fused', 'dinov2'])
def test_recomputed_activations_give_the_same_gradients(name, monkeypatch):
    grads = []
    for with_cp in (False, True):
        monkeypatch.setitem(BACKBONES, name, dict(BACKBONES[name], with_cp=with_cp))
        tuned = learnt(built(name, LORA)).train()
        sum(level.square().mean() for level in tuned(images())).backward()
        grads.append([parameter.grad for parameter in tuned.parameters() if parameter.requires_grad])
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_half_precision_trains_and_evaluates_as_the_merged_backbone():
    tuned = learnt(built('dinov2', SOMA))
    merged = copy.deepcopy(tuned).merge()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert same(predicted(tuned), predicted(merged))
        levels = tuned.train()(images())
    sum(level.float().square().mean() for level in levels).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in tuned.parameters() if parameter.requires_grad)


def test_all_linear_layers_of_the_blocks_are_found():
    names = low_rank_layers(blocks_of(built('mit', None))[1])
    assert set(names) == {'attn.attn.in_proj', 'attn.attn.out_proj', 'ffn.layers.0', 'ffn.layers.4'}
