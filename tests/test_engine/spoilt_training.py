"""Trainings in which a number of one process is not finite, and the scaler of float16 without a GPU."""
import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from torch import nn


@HOOKS.register_module()
class Spoil(Hook):
    """Before an iteration, once: makes images, or the gradient of a parameter, of one process not finite."""

    def __init__(self, what: str, iteration: int, rank: int = 0) -> None:
        self.what, self.iteration, self.rank = what, iteration, rank

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if runner.iter + 1 != self.iteration or runner.rank != self.rank:
            return
        model = getattr(runner.model, 'module', runner.model)
        if self.what == 'images':
            data_batch['source']['inputs'] = [image * torch.nan for image in data_batch['source']['inputs']]
        elif self.what == 'gradient':
            bias = model.student.decode_head.conv_seg.bias
            handle = bias.register_hook(lambda gradient: self._spoilt(gradient, handle))
        else:
            model.get_parameter(self.what).data[0] = torch.inf

    @staticmethod
    def _spoilt(gradient: torch.Tensor, handle) -> torch.Tensor:
        handle.remove()
        return gradient * torch.inf


@OPTIM_WRAPPERS.register_module()
class ScaledOnCpu(AmpOptimWrapper):
    """AmpOptimWrapper without a GPU: the same scaler, float32 forward passes."""

    def __init__(self, **kwargs) -> None:
        OptimWrapper.__init__(self, **kwargs)
        self.loss_scaler, self._scale_update_param, self.cast_dtype = torch.amp.GradScaler('cpu'), None, None

    def optim_context(self, model: nn.Module):
        return OptimWrapper.optim_context(self, model)


def hooks(*more: dict) -> dict:
    return {'custom_hooks': list(more)}
