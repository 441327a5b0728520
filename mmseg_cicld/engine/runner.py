"""The runner: what mmengine's does, with checkpoints that can be trusted and training without GPUs."""
import copy

import torch
import torch.distributed as dist
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from .distributed import init_cpu_process_group, refuse_sync_batchnorm_on_cpu


@RUNNERS.register_module()
class AdaptationRunner(Runner):
    """Set ``runner_type = 'AdaptationRunner'`` in a config and any mmseg tool builds this runner."""

    def setup_env(self, env_cfg: dict) -> None:
        """Sets up processes; on a machine without GPUs they talk through gloo, whatever ``dist_cfg.backend`` says."""
        if self.distributed and not dist.is_initialized() and not torch.cuda.is_available():
            init_cpu_process_group(self.launcher, env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to its device and wraps it for distributed training, by default for several backwards."""
        if self.distributed and not is_model_wrapper(model):
            if not torch.cuda.is_available():
                refuse_sync_batchnorm_on_cpu(model, self.cfg.get('sync_bn'))
            model_wrapper_cfg = copy.deepcopy(model_wrapper_cfg) or {}
            model_wrapper_cfg.setdefault('type', 'UDADistributedDataParallel')
        return super().wrap_model(model_wrapper_cfg, model)
