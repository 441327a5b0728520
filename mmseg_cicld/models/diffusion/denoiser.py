"""The denoiser: a diffusers UNet, and how a condition enters it (CICLD, Yu et al., 2024, section 3.3).

Shape suffixes: B samples, C channels, h and w height and width, N places of the middle block, M condition tokens.
"""
import inspect

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pretrained_unet import empty_prompt, load_unet

UNETS = ('UNet2DModel', 'UNet2DConditionModel')
CONDITIONS = ('none', 'concat', 'mask_attention')


def check_condition(condition: str) -> None:
    """Raises a ``ValueError`` unless the condition is one of :data:`CONDITIONS`."""
    if condition not in CONDITIONS:
        raise ValueError(f'decode_head.condition is {condition!r}, allowed are {CONDITIONS}')


def mask_attention(features_BNC: Tensor, tokens_BMC: Tensor) -> Tensor:
    """Adds the condition to features, ``o + sigmoid(o c') c`` (Eq. 5); tokens that are zero change nothing."""
    return features_BNC + torch.sigmoid(features_BNC @ tokens_BMC.transpose(1, 2)) @ tokens_BMC


class MaskAttentionMidBlock(nn.Module):
    """A UNet's middle block with :func:`mask_attention` after it.

    A ``UNet2DConditionModel`` hands its ``encoder_hidden_states``, here the condition tokens, to a middle block that
    says ``has_cross_attention``.

    Args:
        mid_block: The block without cross attention.
    """

    has_cross_attention = True

    def __init__(self, mid_block: nn.Module) -> None:
        super().__init__()
        self.mid_block = mid_block

    def forward(self, hidden_states: Tensor, temb: Tensor | None = None, encoder_hidden_states: Tensor | None = None,
                **unused) -> Tensor:
        """Runs the block; without tokens (the null condition) its output stays as it is."""
        features_BChw = self.mid_block(hidden_states, temb)
        if encoder_hidden_states is None:
            return features_BChw
        attended_BNC = mask_attention(features_BChw.flatten(2).transpose(1, 2), encoder_hidden_states)
        return attended_BNC.transpose(1, 2).unflatten(2, features_BChw.shape[2:])


class Denoiser(nn.Module):
    """Predicts noise (or what the scheduler's prediction type says) from a noisy latent and its timestep.

    Args:
        config: ``type``, one of :data:`UNETS`, and the arguments of that diffusers class except for its channels; or
            ``pretrained`` and ``subfolder`` in place of these, see :func:`load_unet`. Such a UNet's cross attention is
            given the embedding of the empty text, which is kept with the weights.
        latent_channels: Channels of the noisy latent and of the prediction.
        image_channels: Channels of the image latent that stands beside the noisy one with ``condition='concat'``.
        condition: ``'none'``; ``'concat'``: the image latent is joined to the noisy one; ``'mask_attention'``: tokens
            of a mask enter at the middle block.

    ``num_class_embeds`` of the UNet is the number of its tasks: a learned switch beside the time tells them apart.

    Raises:
        ValueError: If the UNet or the condition does not exist, an argument does not fit, or one excludes another.
    """

    def __init__(self, config: dict, latent_channels: int, image_channels: int, condition: str = 'none') -> None:
        super().__init__()
        check_condition(condition)
        self.condition = condition
        channels = latent_channels + (image_channels if condition == 'concat' else 0)
        self.unet = _build_unet(config, channels, latent_channels)
        self._unconditional = config['type'] == 'UNet2DModel'
        attends = config.get('pretrained') is not None and not self._unconditional and bool(_crossed(self.unet))
        self.register_buffer('prompt_1MC', empty_prompt(config) if attends else None)
        if condition == 'mask_attention':
            if config['type'] != 'UNet2DConditionModel':
                raise ValueError("condition='mask_attention' needs decode_head.denoiser.type='UNet2DConditionModel', "
                                 f"got {config['type']!r}, whose middle block takes no condition")
            if attends:
                raise ValueError("condition='mask_attention' takes the place of the text that the UNet of decode_head."
                                 "denoiser.pretrained attends to: set decode_head.condition='none' or 'concat'")
            self.unet.mid_block = MaskAttentionMidBlock(self.unet.mid_block)

    @property
    def tasks(self) -> int:
        """Number of tasks that the switch tells apart, 1 without a switch."""
        return self.unet.config.num_class_embeds or 1

    @property
    def stride(self) -> int:
        """Factor by which the middle block is coarser than the latent."""
        return 2**(len(self.unet.config.block_out_channels) - 1)

    @property
    def middle_channels(self) -> int:
        """Channels of the middle block, which are those of the condition tokens."""
        return self.unet.config.block_out_channels[-1]

    def middle_size(self, latent_BChw: Tensor) -> tuple[int, int]:
        """Returns height and width of the middle block for a latent."""
        height, width = (-(-side // self.stride) for side in latent_BChw.shape[2:])
        return height, width

    def _divisible(self, latent_BChw: Tensor) -> Tensor:
        # The UNet halves and doubles: an odd side would come back longer than its skip. Repeated edges keep the statistics
        # that its group norms see.
        bottom, right = (-side % self.stride for side in latent_BChw.shape[2:])
        return F.pad(latent_BChw, (0, right, 0, bottom), mode='replicate')

    def forward(self, noisy_BChw: Tensor, times_B: Tensor, image_BChw: Tensor,
                tokens_BMC: Tensor | None = None, task: int = 0) -> Tensor:
        """Returns the prediction, of the noisy latent's shape and dtype.

        Sides that the UNet cannot halve are made longer at the bottom and at the right by repeating the edge, and what
        is predicted there is dropped.

        Args:
            noisy_BChw: Noisy latent.
            times_B: Its timesteps.
            image_BChw: Clean image latent, read with ``condition='concat'`` only.
            tokens_BMC: Condition tokens of ``condition='mask_attention'``; None is the null condition.
            task: Which task it is to do, below :attr:`tasks`.
        """
        height, width = noisy_BChw.shape[2:]
        seen = self._divisible(torch.cat([noisy_BChw, image_BChw], dim=1) if self.condition == 'concat' else noisy_BChw)
        # A UNet2DModel has no argument for tokens, a UNet2DConditionModel has to be given one.
        if self.prompt_1MC is not None:
            tokens_BMC = self.prompt_1MC.expand(len(seen), -1, -1).to(seen.dtype)
        context = {} if self._unconditional else dict(encoder_hidden_states=tokens_BMC)
        if self.tasks > 1:
            context['class_labels'] = torch.full_like(times_B, task, dtype=torch.long)
        return self.unet(seen, times_B, **context).sample[..., :height, :width].to(noisy_BChw.dtype)


def _build_unet(config: dict, in_channels: int, out_channels: int) -> nn.Module:
    arguments = dict(config)
    name = arguments.pop('type', None)
    if name not in UNETS:
        raise ValueError(f'decode_head.denoiser.type is {name!r}, allowed are {UNETS}')
    if arguments.get('pretrained') is not None:
        return load_unet(config, in_channels, out_channels)
    import diffusers  # loads on use, see models/__init__.py
    kind = getattr(diffusers, name)
    allowed = set(inspect.signature(kind.__init__).parameters) - {'self', 'in_channels', 'out_channels', 'sample_size'}
    unknown = sorted(set(arguments) - allowed)
    if unknown:
        raise ValueError(f'decode_head.denoiser: {name} takes no {", ".join(unknown)} here (its channels follow from '
                         f'the latent); it takes {", ".join(sorted(allowed))}')
    try:
        unet = kind(in_channels=in_channels, out_channels=out_channels, **arguments)
    except ValueError as error:
        raise ValueError(f'decode_head.denoiser: {name} refuses {arguments}: {error}') from error
    crossed = _crossed(unet)
    if crossed:
        raise ValueError(f'decode_head.denoiser has the cross attention blocks {crossed}, which have nothing to '
                         "attend to: set down_block_types=('DownBlock2D', ...), up_block_types=('UpBlock2D', ...) and "
                         "mid_block_type='UNetMidBlock2D'")
    return unet


def _crossed(unet: nn.Module) -> list[str]:
    return [type(block).__name__ for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
            if getattr(block, 'has_cross_attention', False)]
