"""Backbones that are sharded over the processes (FSDP), for what one card cannot hold.

torch's ``fully_shard`` gives each process a part of the parameters, gradients and optimiser state of the backbones of
student and teachers, and gathers the parameters of a block when it computes. Necks, heads and objectives stay under DDP,
since heads of mmseg call their own ``forward()`` past the hooks of a module. mmengine's ``FlexibleRunner`` is another
runner than the one whose checkpoints and exact resume a training here has. What torch has for it is imported by trainings
that shard alone.
"""
import sys
from collections.abc import Mapping

import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..models.tuning.blocks import blocks_of
from ..sharded_tensors import is_part
from ..uda.teacher import EMATeacher
from .checkpoint_checks import bare_model


def check_sharding(config: Mapping, distributed: bool) -> None:
    """Refuses, before anything is built, what ``fsdp=True`` cannot be trained with.

    Args:
        config: The whole config.
        distributed: Whether there are several processes.

    Raises:
        ValueError: With the key to change.
    """
    if not distributed:
        raise ValueError('fsdp=True shards backbones over several processes, and this is one: start it with '
                         'tools/dist_train.sh, or leave fsdp away')
    optim_wrapper = config.get('optim_wrapper') or {}
    if optim_wrapper.get('clip_grad') is not None:
        raise ValueError('fsdp=True has no norm over sharded and other gradients together: set optim_wrapper.clip_grad=None')
    if optim_wrapper.get('type') == 'AmpOptimWrapper' and optim_wrapper.get('dtype') != 'bfloat16':
        raise ValueError('fsdp=True has no loss scaler over sharded gradients: train with --amp bfloat16')
    for key in ('compile', 'channels_last'):
        if config.get(key):
            raise ValueError(f'fsdp=True shards parameters that lie in their usual order and are not compiled: set {key}=False')


def leave_to_sharding(model: nn.Module) -> None:
    """Tells DDP, which is to wrap the model, to leave the parameters of the backbones alone.

    Raises:
        ValueError: If there is no backbone to shard.
    """
    names = [f'{name}.{inner}' for name, backbone in _backbones(model).items() for inner, _ in backbone.named_parameters()]
    if not names:
        raise ValueError('fsdp=True shards model.segmentor.backbone, and this model has none: leave fsdp away')
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)


def shard(model: nn.Module, optim_wrapper: OptimWrapper) -> None:
    """Shards the backbones of student and teachers, and what the optimiser has of them; to be called by all processes.

    Weights and the optimiser's state are there already, equal on all processes: initialised, loaded or resumed as without.

    Args:
        model: Not wrapped, on its device.
        optim_wrapper: Gets the sharded parameters in place of the whole ones.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(), ))
    before = dict(model.named_parameters(remove_duplicate=False))
    for backbone in _backbones(model).values():
        for block in _blocks(backbone):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        fully_shard(backbone, mesh=mesh, reshard_after_forward=True)
    after = dict(model.named_parameters(remove_duplicate=False))
    renewed = {id(old): after[name] for name, old in before.items() if name.startswith('student.')}
    optimizer = optim_wrapper.optimizer
    for group in optimizer.param_groups:
        group['params'] = [renewed.get(id(parameter), parameter) for parameter in group['params']]
    for old in list(optimizer.state):
        new = renewed.get(id(old), old)
        optimizer.state[new] = {key: _like(value, new) for key, value in optimizer.state.pop(old).items()}


def is_sharded(model: nn.Module) -> bool:
    """Whether a part of a model is sharded."""
    return bool(_sharded(model))


class GatherHook(Hook):
    """Keeps the whole parameters of the evaluated network on each process while it is validated.

    Processes may have images of other sizes, and so other numbers of windows: they cannot gather at the same times.
    """

    def before_val(self, runner: Runner) -> None:
        """Gathers, on all processes."""
        for module in _sharded(bare_model(runner).evaluated):
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()

    def after_val(self, runner: Runner) -> None:
        """Leaves each process its part again."""
        for module in _sharded(bare_model(runner).evaluated):
            module.reshard()
            module.set_reshard_after_forward(True, recurse=False)


def _sharded(model: nn.Module) -> list:
    fsdp = sys.modules.get('torch.distributed.fsdp')
    return [] if fsdp is None else [module for module in model.modules() if isinstance(module, fsdp.FSDPModule)]


def _backbones(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the backbones of the student and of all teachers, by name."""
    networks = {name: part for name, part in model.named_children() if name == 'student'}
    networks |= {f'{name}.network': part.network for name, part in model.named_modules() if isinstance(part, EMATeacher)}
    return {f'{name}.backbone': network.backbone for name, network in networks.items() if hasattr(network, 'backbone')}


def _blocks(backbone: nn.Module) -> list[nn.Module]:
    try:
        return blocks_of(getattr(backbone, 'backbone', backbone))
    except TypeError:  # blocks that are not known are gathered together
        return []


def _like(value: object, parameter: Tensor) -> object:
    """Shards an entry of the optimiser's state as its parameter is; numbers of steps stay as they are."""
    if not (isinstance(value, Tensor) and is_part(parameter) and value.shape == parameter.shape and value.ndim):
        return value
    from torch.distributed.tensor import distribute_tensor
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None)
