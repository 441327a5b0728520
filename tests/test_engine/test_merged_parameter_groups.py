"""Merged parameter groups give the settings and the updates of mmengine's groups."""
import copy

import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmseg_cicld.engine.merged_parameter_groups import MergedOptimWrapperConstructor  # noqa: F401

CONFIG = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1),
              paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'head': dict(lr_mult=10.0)}))


def model() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential()
    net.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    net.head = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    net.frozen = copy.deepcopy(net.body).requires_grad_(False)
    return net


def settings(net: nn.Module, wrapper) -> dict[str, tuple[float, float]]:
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)]: (group['lr'], group['weight_decay'])
            for group in wrapper.optimizer.param_groups for p in group['params']}


def test_settings_and_updates_are_those_of_mmengine():
    nets = [model(), model()]
    wrappers = [build_optim_wrapper(nets[0], copy.deepcopy(CONFIG)),
                build_optim_wrapper(nets[1], dict(copy.deepcopy(CONFIG), constructor='MergedOptimWrapperConstructor'))]
    assert settings(nets[0], wrappers[0]) == settings(nets[1], wrappers[1])
    assert len(wrappers[1].optimizer.param_groups) == 3 < len(wrappers[0].optimizer.param_groups)
    assert not any('frozen' in name for name in settings(nets[1], wrappers[1]))
    for net, wrapper in zip(nets, wrappers):
        for step in range(3):
            inputs = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(step))
            wrapper.update_params(net.head(net.body(inputs)).square().mean())
    for ours, theirs in zip(nets[1].parameters(), nets[0].parameters()):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
