"""SegFormer's head that fuses its levels before it upsamples them: values and gradients are those of mmseg's head."""
import pytest
import torch
from mmseg.models.decode_heads import SegformerHead
from torch import Tensor, nn

from mmseg_cicld.models.decode_heads import LevelwiseSegformerHead
from mmseg_cicld.models.inference import lean_segmentor

CHANNELS = (8, 12, 20, 16)
SIZES = ((12, 22), (6, 11), (3, 6), (2, 3))  # odd ones, and a last level that is not half of the one before


def heads(**changes) -> tuple[SegformerHead, LevelwiseSegformerHead]:
    """Returns mmseg's head and ours, in double precision and with the same weights."""
    torch.manual_seed(0)
    options = dict(in_channels=list(CHANNELS), in_index=[0, 1, 2, 3], channels=10, num_classes=5, dropout_ratio=0.0,
                   norm_cfg=dict(type='BN'), align_corners=False) | changes
    stock, ours = SegformerHead(**options).double(), LevelwiseSegformerHead(**options).double()
    for parameter in stock.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def values_and_gradients(head: nn.Module) -> list[Tensor]:
    """Returns logits, gradients of the levels and of all parameters, and running statistics."""
    generator = torch.Generator().manual_seed(1)
    levels = [torch.randn(2, count, *size, dtype=torch.float64, generator=generator, requires_grad=True)
              for count, size in zip(CHANNELS, SIZES)]
    logits = head(levels)
    direction = torch.randn(logits.shape, dtype=torch.float64, generator=generator)
    return [logits.detach(), *torch.autograd.grad(logits, [*levels, *head.parameters()], direction), *head.buffers()]


@pytest.mark.parametrize('changes', [
    {}, dict(norm_cfg=None), dict(norm_cfg=dict(type='GN', num_groups=5)), dict(align_corners=True),
    dict(interpolate_mode='bicubic'), dict(act_cfg=dict(type='GELU'))],
    ids=['batch norm', 'no norm', 'group norm', 'aligned corners', 'bicubic', 'other activation'])
def test_values_and_gradients_are_those_of_the_stock_head(changes):
    stock, ours = heads(**changes)
    for found, expected in zip(values_and_gradients(ours), values_and_gradients(stock), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_bfloat16_is_as_close_as_that_of_the_stock_head():
    levels = [torch.randn(2, count, *size, dtype=torch.float64) for count, size in zip(CHANNELS, SIZES)]
    exact, errors = heads()[0](levels), []
    for head in heads():
        with torch.autocast('cpu', torch.bfloat16):
            logits = head.float()([level.float() for level in levels])
        errors.append(float((logits.double() - exact).square().mean().sqrt()))
    assert errors[1] < 1.5 * errors[0] < 0.05 * float(exact.square().mean().sqrt())


@torch.no_grad()
def test_the_lean_segmentor_fuses_the_stock_head_so():
    stock = heads()[0].eval()
    lean = lean_segmentor(nn.Sequential(stock))[0]
    levels = [torch.randn(1, count, *size, dtype=torch.float64) for count, size in zip(CHANNELS, SIZES)]
    assert type(lean) is LevelwiseSegformerHead and isinstance(lean.fusion_conv.bn, nn.Identity)
    torch.testing.assert_close(lean(levels), stock(levels))
