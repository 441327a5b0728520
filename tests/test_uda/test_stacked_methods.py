"""MRM, BLDA and MaskTwins stack: every pair and the three together train on every host, and an export holds none of them."""
import copy
import itertools

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.engine.exporting import plain_config, select_network

CLASSES = 5
SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.25)
DISTANCE = dict(SOURCE, feature_distance=dict(weight=0.005, classes=[1, 2], min_ratio=0.25))
MASKED = dict(type='MaskedConsistency', block=16, threshold=0.25)
DEGRADED = dict(type='DegradationConsistency', threshold=0.25, weights=(0.5, 0.1))
ALIGNED = dict(type='LatentDomainAlignment', domains=3, input='clean', weight=0.01)
HOSTS = dict(dacs=[SOURCE, MIX], daformer=[DISTANCE, MIX], hrda=[DISTANCE, MIX], mic=[DISTANCE, MIX, MASKED],
             dida=[DISTANCE, MIX, DEGRADED], cicld=[SOURCE, MIX, ALIGNED])
ADDED = dict(
    rebuilt=dict(type='MaskedRepresentationModeling', cell=16, width=16, heads=2, threshold=0.25),
    balanced=dict(type='BalancedLogits', min_pixels=100),
    twins=dict(type='ComplementaryMasking', block=16, threshold=0.25))
STACKS = [*itertools.combinations(ADDED, 2), tuple(ADDED)]
LOGGED = dict(rebuilt={'rebuilt.decode.loss_ce'}, balanced=set(),
              twins={'twins.first.decode.loss_ce', 'twins.second.decode.loss_ce', 'twins.loss_consistency'})


@pytest.fixture
def network(segmentor, hrda):
    """Gives the config of a host's network."""

    def build(host: str) -> dict:
        config = hrda if host in ('hrda', 'mic') else segmentor()
        config['decode_head'].update(num_classes=CLASSES)
        if host == 'cicld':
            config['neck'] = dict(type='InterCoderNeck', in_channels=[8, 16, 32, 64], latent_channels=4, latent_index=1,
                                  skip_channels=[6, 5])
            config['decode_head'] = dict(
                type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=CLASSES,
                dropout_ratio=0, scheduler=dict(type='DDIMScheduler'), loss_decode=dict(type='CrossEntropyLoss'),
                denoiser=dict(type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
                              down_block_types=('DownBlock2D', ) * 2, up_block_types=('UpBlock2D', ) * 2,
                              add_attention=False))
        return config

    return build


def train(network: dict, objectives: list[dict], data: dict, steps: int = 1):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(type='ClassMixEMA', segmentor=copy.deepcopy(network), teacher=dict(momentum=0.9),
                                    objectives=copy.deepcopy(objectives))).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = OptimWrapper(torch.optim.SGD(parameters, lr=1e-2))
    return model, [model.train_step(data, optimiser) for _ in range(steps)]


@pytest.mark.parametrize('stack', STACKS, ids='-'.join)
@pytest.mark.parametrize('host', HOSTS)
def test_every_stack_trains_on_every_host(network, batch, host, stack):
    model, (log, ) = train(network(host), HOSTS[host] + [ADDED[name] for name in stack], batch(classes=CLASSES))
    assert all(torch.isfinite(value) for value in log.values())
    assert set.union(*(LOGGED[name] for name in stack)) <= set(log)
    losses = [float(value) for name, value in log.items() if 'loss' in name and name != 'loss']
    assert float(log['loss']) == pytest.approx(sum(losses), rel=1e-5)
    assert ('balanced' in stack) == any(getattr(each, 'balance', None) is not None and int(each.balance.anchors.steps) == 1
                                        for each in model.objectives)


@pytest.mark.parametrize('host', HOSTS)
def test_three_together_leave_the_first_losses_of_the_host_as_they_were_but_for_the_corrected_ones(network, batch, host):
    data = batch(classes=CLASSES)
    _, (alone, ) = train(network(host), HOSTS[host], data)
    model, (stacked, _) = train(network(host), HOSTS[host] + list(ADDED.values()), data, steps=2)
    changed = {name for name, value in alone.items() if float(value) != float(stacked[name])}
    assert changed == {'loss', 'source.decode.loss_ce', 'mix.decode.loss_ce'}
    exported = MODELS.build(plain_config(Config(dict(model=dict(type='ClassMixEMA', segmentor=network(host))))).model)
    state = select_network(model.state_dict(), 'student', 'a checkpoint')
    exported.load_state_dict({name: value for name, value in state.items() if name in exported.state_dict()}, strict=True)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))
