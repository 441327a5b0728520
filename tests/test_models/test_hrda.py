"""The two-scale segmentor: crops, windows, attention, losses, and what it refuses."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_cicld.models.crop_box import CropBox
from mmseg_cicld.models.segmentor_protocol import View

NORM = dict(type='BN')
LOSS = dict(type='CrossEntropyLoss')
MIT = dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
           drop_path_rate=0.0)
RESNET = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, dilations=(1, 1, 2, 4),
              strides=(1, 2, 1, 1), norm_cfg=NORM)
COMMON = dict(num_classes=5, dropout_ratio=0.0, norm_cfg=NORM, loss_decode=LOSS)
LEVELS = dict(COMMON, in_channels=[8, 8, 8, 8], in_index=[0, 1, 2, 3], channels=8)
FUSION = dict(type='aspp', sep=True, dilations=(1, 2), pool=False, norm_cfg=NORM, act_cfg=dict(type='ReLU'))
DAFORMER = dict(LEVELS, single_scale_head='DAFormerHead', attention_embed_dim=8,
                decoder_params=dict(embed_dims=8, embed_cfg=dict(type='mlp'), fusion_cfg=FUSION))
HEADS = dict(
    daformer=(MIT, DAFORMER),
    segformer=(MIT, dict(LEVELS, single_scale_head='SegformerHead')),
    upernet=(MIT, dict(LEVELS, single_scale_head='UPerHead', pool_scales=(1, 2))),
    fcn_of_all_levels=(MIT, dict(LEVELS, single_scale_head='FCNHead', input_transform='resize_concat', num_convs=1)),
    deeplabv2=(RESNET, dict(single_scale_head='DLV2Head', in_channels=64, in_index=3, num_classes=5,
                            dilations=(1, 2), loss_decode=LOSS)))


def segmentor(name: str = 'daformer', head: dict | None = None, auxiliary_head: dict | None = None,
              seed: int = 0, **options):
    """A tiny two-scale network with random weights: crops of 32 in images of 64."""
    torch.manual_seed(seed)
    backbone, decode_head = copy.deepcopy(HEADS[name])
    config = dict(
        type='HRDAEncoderDecoder', hr_crop_size=(32, 32), backbone=backbone, auxiliary_head=auxiliary_head,
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0] * 3, std=[1] * 3, size=(64, 64)),
        decode_head=dict(dict(decode_head, type='HRDAHead', hr_loss_weight=0.1), **(head or {})),
        test_cfg=dict(mode='whole'))
    return MODELS.build(ConfigDict(config | options))


def images(height: int = 64, width: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def samples(height: int = 64, width: int = 64, batch: int = 2) -> list:
    generator = torch.Generator().manual_seed(2)
    out = []
    for _ in range(batch):
        label = torch.randint(0, 5, (1, height, width), generator=generator)
        label[:, :4] = 255
        out.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=(height, width))))
    return out


def losses_at(model, inputs: torch.Tensor, box: CropBox) -> dict:
    """Losses of a training forward whose detail crop is ``box``."""
    context, _ = model.views(inputs, (0.0, 0.0))
    features = [model.encode(view) for view in (context, View(box.crop(inputs), box))]
    return model.losses(features, torch.cat([sample.gt_sem_seg.data for sample in samples()]), None, None).losses


def metas(shape) -> list[dict]:
    return [dict(img_shape=torch.Size(shape[2:]), ori_shape=tuple(shape[2:]))] * shape[0]


@pytest.mark.parametrize('name', HEADS)
def test_any_single_scale_head_trains_and_predicts(name):
    model = segmentor(name).train()
    losses = model.loss(images(), samples())
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg', 'decode.hr.loss_ce', 'decode.hr.acc_seg'}
    (losses['decode.loss_ce'] + losses['decode.hr.loss_ce']).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.decode_head.head.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.decode_head.scale_attention.parameters())
    assert model.eval().encode_decode(images(), metas((2, 3, 64, 64))).shape == (2, 5, 64, 64)


def test_fusion_follows_the_formula():
    model, inputs, box = segmentor().eval(), images(), CropBox(8, 40, 16, 48)
    head = model.decode_head
    small = F.interpolate(inputs, scale_factor=0.5, mode='bilinear', align_corners=False)
    context_features = model.backbone(small)
    context, detail = head.head(context_features), head.head(model.backbone(inputs[:, :, 8:40, 16:48]))
    attention = torch.sigmoid(head.scale_attention(context_features))
    mask = torch.zeros_like(attention)
    mask[:, :, 1:5, 2:6] = 1  # the box in steps of 8 pixels
    attention = attention * mask
    canvas = torch.zeros(2, 5, 16, 16)
    canvas[:, :, 2:10, 4:12] = detail  # the box in steps of 4 pixels

    def up(x):
        return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)

    expected = up(attention) * canvas + up((1 - attention) * context)
    logits = head.scale_logits(model.extract_scales(inputs, [box]))
    torch.testing.assert_close(logits.fused_BCHW, expected)
    torch.testing.assert_close(logits.context_BChw, (1 - attention) * context)
    torch.testing.assert_close(logits.detail, detail)


def test_losses_follow_the_formula():
    model = segmentor(head=dict(lr_loss_weight=0.2)).eval()
    box, cross_entropy = CropBox(8, 40, 16, 48), CrossEntropyLoss()
    logits = model.decode_head.scale_logits(model.extract_scales(images(), [box]))
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples()])

    def loss(prediction, label):
        prediction = F.interpolate(prediction, size=label.shape[1:], mode='bilinear', align_corners=False)
        return cross_entropy(prediction, label, ignore_index=255)

    losses = losses_at(model, images(), box)
    torch.testing.assert_close(losses['decode.loss_ce'], 0.7 * loss(logits.fused_BCHW, labels))
    torch.testing.assert_close(losses['decode.lr.loss_ce'], 0.2 * loss(logits.context_BChw, labels))
    torch.testing.assert_close(losses['decode.hr.loss_ce'], 0.1 * loss(logits.detail, labels[:, 8:40, 16:48]))


def test_a_box_leaves_no_trace():
    model, inputs = segmentor().eval(), images()
    first, second = CropBox(0, 32, 0, 32), CropBox(24, 56, 24, 56)
    before = losses_at(model, inputs, first)['decode.loss_ce']
    whole = model.encode_decode(inputs, metas(inputs.shape))
    assert losses_at(model, inputs, second)['decode.loss_ce'] != before
    assert torch.equal(model.encode_decode(inputs, metas(inputs.shape)), whole)
    assert torch.equal(losses_at(model, inputs, first)['decode.loss_ce'], before)
    context, _ = model.views(inputs, (0.0, 0.0))
    partly = model.decode([model.encode(context), model.encode(View(first.crop(inputs), first))], (64, 64))
    assert partly.shape == whole.shape and not torch.equal(partly, whole)


def test_without_a_wrapper_the_box_is_drawn():
    model, inputs = segmentor().eval(), images()
    torch.manual_seed(0)
    drawn = {float(model.loss(inputs, samples())['decode.loss_ce']) for _ in range(8)}
    assert len(drawn) > 3


@pytest.mark.parametrize('share, part', [(0.0, 'context'), (1.0, 'detail')])
def test_fixed_attention_chooses_a_scale(share, part):
    model, inputs = segmentor(head=dict(fixed_attention=share)).eval(), images()
    assert not any('scale_attention' in name for name in model.state_dict())
    logits = model.encode_decode(inputs, metas(inputs.shape))
    small = F.interpolate(inputs, scale_factor=0.5, mode='bilinear', align_corners=False)
    context = model.decode_head.head(model.backbone(small))
    for size in ((16, 16), (64, 64)):
        context = F.interpolate(context, size=size, mode='bilinear', align_corners=False)
    assert torch.allclose(logits, context, atol=1e-5) == (part == 'context')
    if part == 'detail':
        corner = model.decode_head.head(model.backbone(inputs[:, :, :32, :32]))
        torch.testing.assert_close(model(inputs)[:, :, :4, :4], corner[:, :, :4, :4])


@pytest.mark.parametrize('height, width', [(64, 64), (75, 101), (60, 130), (61, 59)])
@pytest.mark.parametrize('name', ['daformer', 'deeplabv2'])
def test_any_size_is_predicted_at_that_size(name, height, width):
    model, inputs = segmentor(name, hr_crop_size=(64, 64)).eval(), images(height, width, batch=1)
    logits = model.encode_decode(inputs, metas(inputs.shape))
    assert logits.shape == (1, 5, height, width) and logits.isfinite().all()
    assert model(inputs).ndim == 4


@pytest.mark.parametrize('mode, training', [('whole', False), ('slide', False), ('whole', True)])
@pytest.mark.parametrize('chunk', [1, 2, 4])
def test_chunks_change_nothing(mode, training, chunk):
    test_cfg = dict(mode=mode, crop_size=(64, 64), stride=(32, 32), batched_slide=True)
    inputs = images(64, 128)
    outputs = []
    for window_chunk in (None, chunk):
        model = segmentor(window_chunk=window_chunk, test_cfg=test_cfg).train(training).double()
        outputs.append(model.inference(inputs.double(), metas(inputs.shape)))
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)


def test_images_too_small_for_the_encoder_are_refused():
    with pytest.raises(ValueError, match=r'\(3, 12\) tokens.*sr_ratio=8'):
        segmentor().eval().encode_decode(images(20, 90), metas((2, 3, 20, 90)))


def test_batched_outer_windows_change_nothing():
    inputs = images(70, 130, batch=2)
    loop, batched = (segmentor(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32), batched_slide=flag)
                               ).eval().double().inference(inputs.double(), metas(inputs.shape))
                     for flag in (False, True))
    assert loop.shape == (2, 5, 70, 130)
    torch.testing.assert_close(loop, batched, rtol=1e-12, atol=1e-12)


def test_windows_share_the_statistics_of_the_batch():
    model = segmentor(window_chunk=2).train()
    model.encode_decode(images(), metas((2, 3, 64, 64)))
    assert model.decode_head.head.fuse_layer.bottleneck.bn.num_batches_tracked == 2  # context, then all windows


def test_chunks_of_a_batch_normed_backbone_are_refused_in_training():
    model = segmentor('deeplabv2', window_chunk=2)
    model.eval().encode_decode(images(), metas((2, 3, 64, 64)))
    with pytest.raises(ValueError, match='window_chunk=2 .*batch norms of the ResNetV1c.*window_chunk=None'):
        model.train().encode_decode(images(), metas((2, 3, 64, 64)))


def test_whole_image_in_place_of_windows():
    model = segmentor(hr_slide_inference=False).eval()
    assert model._windows((64, 64)) == (CropBox(0, 64, 0, 64), )
    assert model.encode_decode(images(), metas((2, 3, 64, 64))).shape == (2, 5, 64, 64)
    assert len(segmentor(hr_slide_overlapping=False)._windows((64, 64))) == 4
    assert len(segmentor()._windows((64, 64))) == 9


def test_auxiliary_head_sees_the_context():
    head = dict(COMMON, type='FCNHead', in_channels=8, in_index=2, channels=8, num_convs=1)
    losses = segmentor(auxiliary_head=head).loss(images(), samples())
    assert float(losses['aux.loss_ce']) > 0


def test_autocast():
    model = segmentor().train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(images(), samples())
        logits = model.encode_decode(images(), metas((2, 3, 64, 64)))
    assert logits.dtype == torch.float32 and logits.isfinite().all()
    exact = segmentor().train().loss(images(), samples())
    assert float(losses['decode.loss_ce']) == pytest.approx(float(exact['decode.loss_ce']), rel=0.02)


@pytest.mark.parametrize('options, message', [
    (dict(scales=(1, )), r'takes two, the context in \(0, 1\] and the detail, which is 1'),
    (dict(scales=(1, 2)), 'takes two'),
    (dict(window_chunk=0), 'window_chunk is 0, allowed are None and numbers from 1 on'),
    (dict(hr_crop_size=(30, 32)), 'must be a multiple of crop_coord_divisible=8'),
    (dict(head=dict(hr_loss_weight=0.8, lr_loss_weight=0.3)), 'shares of the loss'),
    (dict(head=dict(fixed_attention=2.0)), 'fixed_attention is 2.0'),
    (dict(head=dict(align_corners=True)), 'align_corners must be False'),
])
def test_wrong_values_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        segmentor(**options)


def test_another_head_is_refused():
    with pytest.raises(TypeError, match="decode_head is a SegformerHead.*type='HRDAHead'"):
        segmentor(decode_head=dict(LEVELS, type='SegformerHead'))


@pytest.mark.parametrize('size, message', [((24, 64), 'smaller than hr_crop_size'), ((60, 64), 'crop_coord_divisible')])
def test_training_sizes_that_do_not_fit_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        segmentor().loss(images(*size), samples(*size))


def test_crops_off_the_grid_of_the_head_are_refused():
    model = segmentor(crop_coord_divisible=2)
    with pytest.raises(ValueError, match='predicts every 4 pixels.*crop_coord_divisible'):
        losses_at(model, images(), CropBox(2, 34, 2, 34))
