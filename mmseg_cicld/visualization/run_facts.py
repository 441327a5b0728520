"""What a training is: its model, data, machine and packages, in words and numbers."""
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

_PACKAGES = ('torch', 'mmsegmentation', 'onedl-mmsegmentation', 'mmcv-lite', 'mmcv', 'onedl-mmcv', 'mmengine',
             'onedl-mmengine', 'diffusers', 'numpy', 'opencv-python')


def bare_model(model: nn.Module) -> nn.Module:
    """Returns a model without what distributes it over processes."""
    return model.module if is_model_wrapper(model) else model


def run_facts(runner: Runner) -> dict:
    """Tells what is trained, with what and on what."""
    model = bare_model(runner.model)
    objectives = list(getattr(model, 'objectives', ()))
    thresholds = [each.rule.threshold for each in objectives if getattr(each, 'rule', None) is not None]
    filename = getattr(runner.cfg, 'filename', None)
    return dict(
        model=type(model).__name__, objectives=[type(each).__name__ for each in objectives],
        evaluated=getattr(model, 'evaluate', None), threshold=thresholds[0] if thresholds else None,
        config=Path(filename).name if filename else f'{runner.timestamp}.py', max_iters=runner.max_iters,
        batch_size=runner.train_dataloader.batch_size, processes=get_world_size(), seed=runner.seed,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads',
        folder=os.getcwd(), versions=versions())


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that matter to a result."""
    found = dict(python=platform.python_version())
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # One of the two stacks is installed, not both.
    return found
