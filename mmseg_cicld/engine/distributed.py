"""Training with several processes, with or without GPUs."""
import datetime
import inspect
import os

import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, nn


@MODEL_WRAPPERS.register_module()
class UDADistributedDataParallel(MMDistributedDataParallel):
    """DDP for models that run several forward and backward passes in one step.

    The model's ``train_step`` gets this module as ``ddp`` and sends each forward through it; all but the last inside
    ``ddp.no_sync()``. An ordinary mmseg model, whose ``train_step`` has no such argument, is trained as mmengine does.

    Args:
        module: The model, on its device.
        device_ids: GPU of this process; ignored for a model on the CPU, which DDP wants without.
        **kwargs: Further arguments of ``torch.nn.parallel.DistributedDataParallel``.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **kwargs) -> None:
        on_cpu = next(module.parameters()).device.type == 'cpu'
        # Objectives use different parts of a model, and each process keeps the batch statistics of its own images.
        kwargs = dict(find_unused_parameters=True, broadcast_buffers=False) | kwargs
        super().__init__(module, device_ids=None if on_cpu else device_ids, **kwargs)
        self._module_takes_ddp = 'ddp' in inspect.signature(module.train_step).parameters

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Runs one optimisation step and returns its log values."""
        if self._module_takes_ddp:
            return self.module.train_step(data, optim_wrapper, ddp=self)
        return super().train_step(data, optim_wrapper)


def refuse_reentrant_checkpoints(model: nn.Module, activation_checkpointing: str | list[str] | None) -> None:
    """Refuses what recomputes activations by torch's reentrant checkpoints, as mmseg and mmengine do.

    Their backward passes are backward passes of their own, which reach parameters that DDP has reduced already.

    Args:
        model: The model that is to be trained.
        activation_checkpointing: This key of the config.

    Raises:
        ValueError: If that is set, or ``with_cp`` of a part of the model.
    """
    names = [name for name, module in model.named_modules() if getattr(module, 'with_cp', False)]
    if names or activation_checkpointing:
        key = f'with_cp=True ({names[0]})' if names else f'activation_checkpointing={activation_checkpointing}'
        raise ValueError(f'{key} recomputes activations in a way that several processes cannot train with: set '
                         f'{"with_cp=False" if names else "activation_checkpointing=None"}. To save memory, lower '
                         'train_dataloader.batch_size or train with --amp')


def init_cpu_process_group(launcher: str, timeout_seconds: float | None = None) -> None:
    """Joins the processes of a machine without GPUs; mmengine's own set-up selects a GPU unconditionally.

    Args:
        launcher: ``launcher`` of the config; only ``'pytorch'`` (torchrun) works without GPUs.
        timeout_seconds: ``env_cfg.dist_cfg.timeout``, None for torch's default.

    Raises:
        ValueError: For another launcher, or if the process was not started by torchrun.
    """
    if launcher != 'pytorch':
        raise ValueError(f"launcher='{launcher}' needs GPUs and torch sees none: on CPUs use torchrun and "
                         "launcher='pytorch' (tools/dist_train.sh)")
    missing = [name for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]
    if missing:
        raise ValueError(f"launcher='pytorch' needs the environment variables {missing}: start the tool with torchrun "
                         '(tools/dist_train.sh), or leave --launcher away for one process')
    timeout = None if timeout_seconds is None else datetime.timedelta(seconds=timeout_seconds)
    dist.init_process_group('gloo', timeout=timeout)


def refuse_sync_batchnorm_on_cpu(model: nn.Module, sync_bn: str | None) -> None:
    """Refuses synchronised batch norms, which torch has for GPUs only, before CPU processes start with them.

    Args:
        model: The model that is to be trained.
        sync_bn: ``sync_bn`` of the config, which would turn batch norms into synchronised ones.

    Raises:
        ValueError: If there are or would be such layers.
    """
    if sync_bn is not None:
        raise ValueError(f"sync_bn='{sync_bn}' in the config needs GPUs: set sync_bn=None to train on CPUs")
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm)]
    if layers:
        raise ValueError(f'the model has {len(layers)} SyncBN layers (first: {layers[0]}), which need GPUs: '
                         "set norm_cfg.type='BN' to train on CPUs")
