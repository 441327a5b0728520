"""Estimates memory and arithmetic of a config's training step on a GPU, on a machine without one, and prints JSON.

The step runs on tensors without content, and the bytes of all tensors alive are counted. The allocator of a GPU adds
what it loses to fragments, and CUDA its context (about half a GiB). ``tflop`` are the operations of all convolutions,
products and attention of the step in 10^12, a multiplication and an addition being two: a lower bound of its time.
"""
import argparse
import contextlib
import json
import math
import weakref
from collections.abc import Callable, Iterator
from functools import partialmethod
from unittest.mock import patch

import torch
from benchmark_step import synthetic_batch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.models.backbones import depthwise_convolution
from mmseg_cicld.models.decode_heads import computed_again
from mmseg_cicld.models.decode_heads.dilated_depthwise_convolution import DilatedDepthwiseConv2d
from mmseg_cicld.models.decode_heads.winograd_convolution import WinogradConv2d
from mmseg_cicld.models.diffusion.sampling import ReverseProcess
from mmseg_cicld.models.tuning.low_rank import LowRank
from mmseg_cicld.uda.unsaved_network import UnsavedNetwork

# Two moments in float32 for each trained parameter, as AdamW keeps them.
OPTIMISER_BYTES = 8
# What torch's own formulas count, and a CPU's attention, which they leave out.
_OPERATIONS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
        lambda query, key, value, *_, **__: sdpa_flop_count(query.shape, key.shape, value.shape),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward:
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape),
}


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors alive, their peak, and the operations of products (``flop``)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.flop = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (operations := _OPERATIONS.get(func._overloadpacket)) is not None:
            self.flop += operations(*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return out

    def add(self, tensor: Tensor) -> None:
        """Counts a tensor's storage, once, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            self._storages.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--batch-size', type=int, default=2, help='images of each domain')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    return parser


def empty_of_content(model: nn.Module, mode: FakeTensorMode) -> None:
    """Replaces parameters and buffers by tensors without content, and gives each trained parameter a gradient."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            fake = nn.Parameter(mode.from_tensor(parameter.data), parameter.requires_grad)
            fake.grad = mode.from_tensor(parameter.data) if parameter.requires_grad else None
            setattr(module, name, fake)
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, mode.from_tensor(buffer))


def with_hidden_networks(model: nn.Module) -> list[nn.Module]:
    """Returns a model and the networks that it uses without counting them as its parts, each built by now."""
    return [model, *(module.built() for module in model.modules() if isinstance(module, UnsavedNetwork))]


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Leaves out what depends on values, which there are none of, and what only a CPU does."""
    def accuracy(*args, **kwargs) -> Tensor:
        return torch.zeros(())

    with patch('mmseg.models.decode_heads.decode_head.accuracy', accuracy), \
            patch.object(DilatedDepthwiseConv2d, '_has_own_gradients', False), \
            patch.object(depthwise_convolution, 'has_own_gradients', lambda conv, x: False), \
            patch.object(WinogradConv2d, '_suits', lambda self, x: False), \
            patch.object(computed_again, 'LARGE_MAP', math.inf), \
            patch.object(LowRank, 'due', False), \
            patch.object(Tensor, '__deepcopy__', partialmethod(deepcopied, Tensor.__deepcopy__)), \
            patch.object(ReverseProcess, 'latents', denoised):
        yield


def denoised(process: ReverseProcess, predict: Callable[[Tensor, Tensor], Tensor], begin_BChw: Tensor,
             noise_BChw: Tensor, seed: object) -> Iterator[Tensor]:
    """Calls the denoiser as often as the reverse process does; schedulers branch on timesteps, which have no value here."""
    latent_BChw = begin_BChw + noise_BChw
    for _ in range(len(process.times)):
        times_B = torch.zeros(len(begin_BChw), dtype=torch.int64)
        latent_BChw = latent_BChw - predict(latent_BChw, times_B).to(begin_BChw.dtype)
        yield latent_BChw


def deepcopied(tensor: Tensor, usual: Callable[[Tensor, dict], Tensor], memo: dict) -> Tensor:
    """Copies a tensor; one with content, as a scheduler's tables are, is copied as if there were none without."""
    if isinstance(tensor, FakeTensor):
        return memo.setdefault(id(tensor), tensor.clone())
    with unset_fake_temporarily():
        return usual(tensor, memo)


def objective_peaks(model: nn.Module, batch: dict, amp: bool, live: LiveBytes) -> dict[str, int]:
    """Returns the most bytes alive during forward and backward pass of each objective, counted by ``live``."""
    peaks = {}
    for network in with_hidden_networks(model):
        for parameter in network.parameters():
            live.add(parameter)
            if parameter.grad is not None:
                live.add(parameter.grad)
        for buffer in network.buffers():
            live.add(buffer)
    optimiser = OPTIMISER_BYTES * sum(p.numel() for p in model.parameters() if p.requires_grad)
    with live, as_on_a_gpu():
        context = model._context(batch)
        for index, objective in enumerate(model.objectives):
            live.peak = live.now
            for part in range(len(objective.passes)):
                with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                    losses = model(context, (index, part), mode='objective')
                sum(value for key, value in losses.items() if 'loss' in key).backward()
                del losses
            peaks[objective.name] = live.peak + optimiser
    return peaks


def main() -> None:
    """Estimates and prints."""
    parser = make_parser()
    args = parser.parse_args()
    with one_line_errors():
        print(json.dumps(estimate(load_config(parser, args), args), indent=2))


def estimate(config: Config, args: argparse.Namespace) -> dict:
    """Counts bytes and operations of the training step of a config and returns what is printed."""
    init_default_scope('mmseg')
    check_num_classes(config)
    model = MODELS.build(config.model).train()
    size = tuple(config.model.segmentor.data_preprocessor.size)
    batch = synthetic_batch(size, args.batch_size, model.student.decode_head.num_classes, seed=0)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for network in with_hidden_networks(model):
        empty_of_content(network, mode)
    live = LiveBytes()
    with mode:
        peaks = objective_peaks(model, batch, args.amp, live)
    return dict(
        config=args.config, size=size, batch_size=args.batch_size, amp=args.amp, torch=torch.__version__,
        estimated_peak_mib=round(max(peaks.values()) / 2**20), tflop=round(live.flop / 1e12, 3),
        mib={name: round(peak / 2**20) for name, peak in peaks.items()})


if __name__ == '__main__':
    main()
