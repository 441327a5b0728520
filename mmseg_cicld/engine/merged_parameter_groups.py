"""Parameter groups for the optimiser: one for each setting instead of one for each parameter."""
import logging

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's ``paramwise_cfg``, with parameters of equal settings in one group and frozen networks left out.

    mmengine makes a group of every parameter, which keeps fused and multi-tensor optimisers from doing their work,
    and reports each parameter, those of the teacher too. Updates are the same either way.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: int | float | None = None) -> None:
        """Adds the groups of a module to ``params``, see mmengine."""
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return
        if prefix:
            super().add_params(params, module, prefix, is_dcn_module)
            return
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            single: list[dict] = []
            super().add_params(single, module, prefix, is_dcn_module)
        finally:
            logger.setLevel(level)
        params.extend(merge_groups(single))
        for group in params:
            settings = ', '.join(f'{key}={value}' for key, value in group.items() if key != 'params')
            logger.info(f'optimiser: {len(group["params"])} parameters with {settings or "the default settings"}')


def merge_groups(groups: list[dict]) -> list[dict]:
    """Joins parameter groups whose settings are equal, in order of their first appearance."""
    merged: dict[tuple, dict] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted((name, repr(value)) for name, value in settings.items()))
        merged.setdefault(key, dict(settings, params=[]))['params'].extend(group['params'])
    return list(merged.values())
