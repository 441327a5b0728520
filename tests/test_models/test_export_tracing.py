"""Both of torch's exporters write our modules so that onnxruntime computes what torch computes."""
import io

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_latent_head import segmentor
from torch import nn

from mmseg_cicld.models.crop_box import average_windows, sliding_windows
from mmseg_cicld.models.decode_heads.dilated_depthwise_convolution import DilatedDepthwiseConv2d
from mmseg_cicld.models.decode_heads.fusion_layers import build_fusion_layer

EXPORTERS = pytest.mark.parametrize('dynamo', [False, True], ids=['tracing', 'dynamo'])
STYLE = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))


class Windows(nn.Module):
    """Overlapping windows of an image, each changed by what it sees, averaged."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns a map of the images' size."""
        size = (images.shape[2], images.shape[3])
        windows = sliding_windows(size, (12, 16), (8, 8))
        return average_windows([window.crop(images) / window.crop(images).max() for window in windows], windows, size)


def onnx_output(module: nn.Module, example: torch.Tensor, dynamo: bool, *others: torch.Tensor) -> list[torch.Tensor]:
    """Exports with an example, for any size if there are others, and returns what the file gives for all of them."""
    buffer, sides = io.BytesIO(), {2: 'height', 3: 'width'}
    if dynamo:
        sizes = dict(dynamic_shapes=({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}, )) if others else {}
        torch.onnx.export(module, (example, ), dynamo=True, verbose=False, **sizes).save(buffer)
    else:
        sizes = dict(dynamic_axes=dict(x=sides, y=sides)) if others else {}
        torch.onnx.export(module, (example, ), buffer, dynamo=False, opset_version=18, input_names=['x'],
                          output_names=['y'], **sizes)
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return [torch.from_numpy(session.run(None, {name: np.asarray(x)})[0]) for x in (example, *others)]


@EXPORTERS
def test_dilated_convolution_at_any_size(dynamo):
    torch.manual_seed(0)
    conv = DilatedDepthwiseConv2d(4, 4, 3, padding=6, dilation=6, groups=4).eval()
    images = [torch.randn(1, 4, *size) for size in ((19, 26), (8, 31), (40, 12))]
    with torch.no_grad():
        for found, image in zip(onnx_output(conv, images[0], dynamo, *images[1:]), images, strict=True):
            torch.testing.assert_close(found, conv(image), rtol=0, atol=1e-5)


@EXPORTERS
def test_averaged_windows(dynamo):
    image = torch.rand(1, 2, 28, 37)
    found, = onnx_output(Windows(), image, dynamo)
    torch.testing.assert_close(found, Windows()(image), rtol=0, atol=1e-6)


def test_interlaced_attention_at_any_size():
    torch.manual_seed(0)
    layer = build_fusion_layer(dict(type='isa', isa_channels=4, down_factor=(4, 3), key_query_num_convs=1, **STYLE), 4, 4,
                               'fusion_cfg').eval()
    images = [torch.randn(1, 4, *size) for size in ((8, 9), (10, 7), (5, 16))]
    with torch.no_grad():
        for found, image in zip(onnx_output(layer, images[0], False, *images[1:]), images, strict=True):
            torch.testing.assert_close(found, layer(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize('changes', [dict(inference=dict(seed=3)), dict(scheduler=dict(type='DDPMScheduler'),
                                                                        inference=dict(steps=2))], ids=['ddim', 'ddpm'])
def test_noise_of_a_diffusion_head_is_a_constant(changes):
    network, image = segmentor(**changes), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, = onnx_output(network, image, False)
        expected = network(image)
        assert not torch.allclose(segmentor(inference=dict(changes['inference'], seed=4))(image), expected, atol=1e-3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(network(image), expected)  # nothing of the export stays in the network
