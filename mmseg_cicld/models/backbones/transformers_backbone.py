"""Vision networks of the transformers library as backbones: DINOv2, DINOv3 and whatever else it offers.

transformers was chosen over timm: it has DINOv2 with and without registers and both DINOv3 families, loads safetensors,
and needs no torchvision, whose compiled operators timm imports and which has to match torch to the patch version.

Shape suffixes: B images, N tokens, C channels, H and W size, h and w size of a map.
"""
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..map_geometry import cropped_map, padded_to_multiple
from .transformers_weights import OF_MODEL, build_network, inner_of, is_plain, load_weights, source_of

Change = Callable[[Tensor], Tensor | None]


@MODELS.register_module()
class TransformersBackbone(BaseModule):
    """Gives feature maps of chosen blocks of a vision transformer, or of chosen stages of a convolutional network.

    Images of any size are taken. They are padded with zeros (the mean colour) below and on the right to whole patches, or
    to the coarsest stride. The tokens or maps of the padded image are then resampled bilinearly so that ceil(H / stride)
    x ceil(W / stride) places divide the unpadded image evenly, as heads of mmseg take them to; where nothing was padded,
    nothing is resampled. Position embeddings are resampled by the library's own code; DINOv3's are computed for any size.
    Attention is torch's ``scaled_dot_product_attention``, which takes flash attention where it can.

    DINOv2 and DINOv3 were trained on images normalised with ``mean=[123.675, 116.28, 103.53]``, ``std=[58.395, 57.12,
    57.375]`` and ``bgr_to_rgb=True`` of the data preprocessor.

    Args:
        model: Hub name (``'facebook/dinov2-base'``), folder that ``save_pretrained`` wrote, or the architecture:
            ``dict(model_type='dinov2', hidden_size=768, ...)``, whose keys are those of the library's config. Plain
            vision transformers of timm (EVA-02) come through ``dict(model_type='timm_wrapper',
            architecture='eva02_base_patch14_448')``, if timm and torchvision are installed.
        weights: Folder, hub name, or file (.safetensors, .pth) of weights under the library's names, past or present. By
            default those of ``model``, of which a dict has none. None starts from random weights.
        out_indices: Blocks (stages of a convolutional network) whose output is given, in ascending order, 0 for the
            first. By default the last of each quarter of the blocks, or all stages.
        final_norm: Whether the final layer norm of a transformer is applied to each map, as DINOv2 is evaluated and as
            the library's own backbones do it. An adapter or a neck that learns its own scale goes without.
        scale: Factor by which images are resized bilinearly before the network: 1120 / 1024 makes crops of 1024 fit
            patches of 14, 14 / 16 gives these patches a stride of 16.
        with_cp: Whether each block is recomputed in the backward pass: less memory, more time, the same numbers.
        sha256: SHA-256 of the file of weights, or its first eight or more digits.
        init_cfg: mmengine initialisation, in place of ``weights``.

    Attributes:
        embed_dims: Channels of the tokens; of a convolutional network, those of its last stage.
        out_channels: Channels of each map that is given.
        strides: Pixels of the (scaled) image to a place, for each map that is given.
        patch_size: Side of a patch in pixels; of a convolutional network, its coarsest stride.
        num_prefix_tokens: Tokens before those of the patches: class token and registers.

    Raises:
        PretrainedWeightsError: If names, folders or files cannot be read or do not fit.
        ValueError: If an argument is not allowed, or the network gives neither tokens nor maps.
    """

    def __init__(self, model: str | dict, weights: str | None = OF_MODEL, out_indices: Sequence[int] | None = None,
                 final_norm: bool = True, scale: float = 1.0, with_cp: bool = False, sha256: str | None = None,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.weights, self.sha256 = source_of(model, weights), sha256
        if self.weights is not None and init_cfg is not None:
            raise ValueError('model.segmentor.backbone has weights and init_cfg: set one of them to None')
        if not scale > 0:
            raise ValueError(f'model.segmentor.backbone.scale is {scale}, allowed are factors above 0')
        self.scale, self.final_norm = scale, final_norm
        self.model = build_network(model, with_cp)
        self.gives_tokens = is_plain(self.model.config)
        self.out_indices = _checked(out_indices, len(self.blocks), self.gives_tokens)
        self._options = {}
        if 'interpolate_pos_encoding' in inspect.signature(self.model.forward).parameters:
            self._options['interpolate_pos_encoding'] = True
        self._describe()

    @property
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        """The transformer blocks, or the stages of a convolutional network, in their order."""
        network, config = inner_of(self.model), self.model.config
        if network is not self.model:
            found = [network.blocks] if hasattr(network, 'blocks') else []
        else:
            count = config.num_hidden_layers if self.gives_tokens else len(config.depths)
            found = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) == count]
        if not found:
            raise ValueError(f'model.segmentor.backbone.model is a {type(network).__name__}, in which no blocks or stages '
                             'were found: choose a plain vision transformer, or a convolutional network of transformers')
        return found[0]

    @property
    def norm(self) -> nn.Module | None:
        """The layer norm behind the last block of a transformer, None if it has none."""
        norms = [child for child in inner_of(self.model).children() if isinstance(child, nn.LayerNorm)]
        return norms[-1] if norms and self.gives_tokens else None

    def init_weights(self) -> None:
        """Loads the weights, if there are any; in each process, after all else that initialises.

        Raises:
            PretrainedWeightsError: If they cannot be had or do not fit.
        """
        super().init_weights()  # which calls the library's own initialisation
        if self.weights is not None:
            load_weights(self.model, self.weights, self.sha256, self._unused)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Returns the chosen maps [B, C, h, w], in the order of ``out_indices``."""
        images_BCHW = self.scaled(images_BCHW)
        maps = self._maps(padded_to_multiple(images_BCHW, self.patch_size))
        size = images_BCHW.shape[2:]
        return tuple(cropped_map(map_BChw, stride, size) for map_BChw, stride in zip(maps, self.strides, strict=True))

    def scaled(self, images_BCHW: Tensor) -> Tensor:
        """Resizes images by ``scale``."""
        if self.scale == 1:
            return images_BCHW
        # int: an export by tracing hands over sizes as tensors.
        size = [max(round(int(side) * self.scale), 1) for side in images_BCHW.shape[2:]]
        return F.interpolate(images_BCHW, size=size, mode='bilinear', align_corners=False)

    def run_blocks(self, images_BCHW: Tensor, before: Mapping[int, Change], after: Mapping[int, Change]) -> None:
        """Runs the transformer on padded images, with a look at its tokens, or a change to them, between blocks.

        Args:
            images_BCHW: Images of whole patches.
            before: By index of a block, a function of its input tokens [B, N, C], class token and registers first. What
                it returns takes their place; None leaves them.
            after: The same for its output.
        """
        with _between_blocks(self.blocks, before, after):
            self.model(images_BCHW, **self._options)

    def as_map(self, tokens_BNC: Tensor, size: Sequence[int]) -> Tensor:
        """Returns the patch tokens as a map [B, C, h, w], given the size of the padded image."""
        shape = [side // self.patch_size for side in size]
        return tokens_BNC[:, self.num_prefix_tokens:].transpose(1, 2).unflatten(2, shape).contiguous()

    def _maps(self, images_BCHW: Tensor) -> list[Tensor]:
        if not self.gives_tokens:
            maps = self.model(images_BCHW).feature_maps  # the first is that of the stem
            return [maps[index + len(maps) - len(self.blocks)] for index in self.out_indices]
        normed = self.norm if self.final_norm and self.norm is not None else nn.Identity()
        return [self.as_map(normed(tokens_BNC), images_BCHW.shape[2:]) for tokens_BNC in self._tokens(images_BCHW)]

    def _tokens(self, images_BCHW: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        self.run_blocks(images_BCHW, {}, dict.fromkeys(self.out_indices, found.append))
        return found

    def _describe(self) -> None:
        """Reads strides, channels and prefix tokens off a small image, and freezes what no output depends on.

        DDP waits for the gradient of each parameter that asks for one: the mask token of pre-training has none.
        """
        training, channels = self.model.training, getattr(self.model.config, 'num_channels', 3)
        self.model.eval()
        with torch.enable_grad():
            if self.gives_tokens:
                self.patch_size = _patch_side(self.model)
                shape = (2, 3)
                image = torch.zeros(1, channels, *(side * self.patch_size for side in shape))
                tokens = self._tokens(image)
                self.embed_dims = _token_width(tokens[0], shape[0] * shape[1], type(self.model).__name__)
                self.num_prefix_tokens = tokens[0].shape[1] - shape[0] * shape[1]
                self.strides = (self.patch_size, ) * len(self.out_indices)
            maps = self._maps(image if self.gives_tokens else torch.zeros(1, channels, 128, 128))
        self.model.train(training)
        self.out_channels = [map_BChw.shape[1] for map_BChw in maps]
        if not self.gives_tokens:
            self.strides = tuple(128 // map_BChw.shape[2] for map_BChw in maps)
            self.patch_size, self.embed_dims, self.num_prefix_tokens = max(self.strides), self.out_channels[-1], 0
        used = _leaves(maps)
        self._unused = {name for name, parameter in self.model.named_parameters() if id(parameter) not in used}
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in self._unused)


@contextmanager
def _between_blocks(blocks: nn.ModuleList, before: Mapping[int, Change], after: Mapping[int, Change]) -> Iterator[None]:
    """Hooks of one pass, so that copies and pickles of a network hold none."""
    handles = [blocks[index].register_forward_pre_hook(_on_input(change), with_kwargs=True)
               for index, change in before.items()]
    handles += [blocks[index].register_forward_hook(_on_output(change)) for index, change in after.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_input(change: Change) -> Callable:
    def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple | None:
        tokens_BNC = change(args[0])
        return None if tokens_BNC is None else ((tokens_BNC, *args[1:]), kwargs)

    return hook


def _on_output(change: Change) -> Callable:
    def hook(module: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple | None:
        tokens_BNC = change(output[0] if isinstance(output, tuple) else output)
        if tokens_BNC is None:
            return None
        return (tokens_BNC, *output[1:]) if isinstance(output, tuple) else tokens_BNC

    return hook


def _leaves(outputs: Sequence[Tensor]) -> set[int]:
    """Returns the ids of all parameters that outputs depend on, read off their graph."""
    leaves, seen, waiting = set(), set(), [output.grad_fn for output in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaves.add(id(getattr(node, 'variable', None)))
        waiting += [following for following, _ in node.next_functions]
    return leaves


def _patch_side(network: nn.Module) -> int:
    patches = network.config if inner_of(network) is network else inner_of(network).patch_embed
    size = patches.patch_size
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ValueError(f'model.segmentor.backbone.model has patch_size {size}: patches must be square')
    return sides.pop()


def _token_width(tokens_BNC: Tensor, patches: int, name: str) -> int:
    if tokens_BNC.ndim != 3 or tokens_BNC.shape[1] < patches:
        raise ValueError(f'model.segmentor.backbone.model is a {name}, whose blocks give {tuple(tokens_BNC.shape)} for '
                         f'{patches} patches instead of a token for each: choose a plain vision transformer')
    return tokens_BNC.shape[2]


def _checked(out_indices: Sequence[int] | None, blocks: int, gives_tokens: bool) -> tuple[int, ...]:
    if out_indices is None:
        steps = min(4, blocks) if gives_tokens else blocks
        return tuple(blocks * step // steps - 1 for step in range(1, steps + 1))
    chosen = tuple(out_indices)
    if not chosen or list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(range(blocks)):
        raise ValueError(f'model.segmentor.backbone.out_indices is {chosen}, but the network has {blocks} blocks: allowed '
                         f'are ascending numbers of 0 to {blocks - 1}')
    return chosen
