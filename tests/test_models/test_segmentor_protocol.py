"""The protocol between training signals and networks: what it computes is what mmseg computes, and who speaks it."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from training_forward import train_forward

from mmseg_cicld.models.crop_box import CropBox
from mmseg_cicld.models.head_losses import head_losses
from mmseg_cicld.models.segmentor_protocol import (TrainableSegmentor, TrainingOutput, View, ViewFeatures,
                                                   check_segmentor)

NORM = dict(type='GN', num_groups=2)
BACKBONE = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
                dilations=(1, 1, 1, 1), strides=(1, 2, 2, 2), norm_cfg=dict(type='BN'), norm_eval=True)
FCN = dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=5, norm_cfg=NORM,
           dropout_ratio=0., align_corners=False, loss_decode=dict(type='CrossEntropyLoss'))
OCR = dict(FCN, type='OCRHead', ocr_channels=4)
del OCR['num_convs']
KINDS = dict(
    plain=dict(decode_head=FCN),
    two_losses=dict(decode_head=dict(FCN, loss_decode=[
        dict(type='CrossEntropyLoss', loss_weight=0.5), dict(type='DiceLoss', loss_name='loss_dice')])),
    auxiliary=dict(decode_head=FCN, auxiliary_head=dict(FCN, in_channels=32, in_index=2)),
    auxiliaries=dict(decode_head=FCN, auxiliary_head=[dict(FCN, in_channels=32, in_index=2),
                                                      dict(FCN, in_channels=16, in_index=1)]),
    cascade=dict(type='CascadeEncoderDecoder', num_stages=2, decode_head=[FCN, OCR]))


def build(kind: str = 'plain', **options):
    torch.manual_seed(0)
    config = dict(type='EncoderDecoder', backbone=BACKBONE, train_cfg=dict(), test_cfg=dict(mode='whole'),
                  data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[255.] * 3, size=(64, 64)))
    return MODELS.build(ConfigDict(copy.deepcopy({**config, **KINDS[kind], **options}))).train()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def labels() -> torch.Tensor:
    drawn = torch.randint(0, 5, (2, 64, 64), generator=torch.Generator().manual_seed(2))
    drawn[:, :4] = 255
    return drawn


@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_those_of_mmseg(kind):
    segmentor = build(kind)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None]), metainfo=dict(img_shape=(64, 64)))
               for label in labels()]
    expected = segmentor.loss(images(), samples)
    output = train_forward(segmentor, images(), labels())
    assert list(output.losses) == list(expected)
    for name, value in expected.items():
        assert torch.equal(output.losses[name], value), name
    weighted = train_forward(segmentor, images(), labels(), torch.zeros(2, 64, 64)).losses
    assert all(float(value) == 0 for name, value in weighted.items() if 'loss' in name)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('training', [True, False])
def test_predictions_are_those_of_mmseg(kind, training):
    segmentor = build(kind).train(training)
    meta = dict(img_shape=torch.Size((64, 64)))
    with torch.no_grad():
        expected = segmentor.encode_decode(images(), [meta] * 2)
    network = TrainableSegmentor(segmentor)
    assert torch.equal(network.predict(images()).detach(), expected)
    logits = network.decode([network.encode(view) for view in network.views(images(), (0, 0))], (64, 64))
    assert torch.equal(logits.detach(), expected) and logits.requires_grad


@pytest.mark.parametrize('head', [
    dict(type='EncHead', in_channels=[16, 32, 64], in_index=(1, 2, 3), num_codes=4, use_se_loss=True, add_lateral=False,
         loss_se_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)),
    dict(type='DAHead', pam_channels=4), dict(type='DepthwiseSeparableFCNHead', num_convs=1)])
def test_heads_of_several_outputs_predict_in_training_mode_too(head):
    """A teacher stays in training mode, where some heads give more than the logits that count."""
    config = {key: value for key, value in FCN.items() if key != 'num_convs'} | head
    network = TrainableSegmentor(build(decode_head=config))
    assert network.predict(images()).shape == (2, 5, 64, 64)


def test_main_losses_are_those_of_the_last_stage_and_of_no_single_scale():
    plain, cascade = TrainableSegmentor(build()), TrainableSegmentor(build('cascade'))
    assert plain.is_main_loss('decode.loss_ce') and not plain.is_main_loss('aux.loss_ce')
    assert plain.is_main_loss('loss_ce')
    assert not plain.is_main_loss('decode.hr.loss_ce') and not plain.is_main_loss('decode.lr.loss_ce')
    assert cascade.is_main_loss('decode_1.loss_ce') and not cascade.is_main_loss('decode_0.loss_ce')


def test_facts_of_a_network_are_those_of_its_main_head():
    network = TrainableSegmentor(build('cascade'))
    assert (network.num_classes, network.ignore_index, network.denoising_head) == (5, 255, None)
    assert network.main_head is network.module.decode_head[1]
    mean, std = network.normalisation
    assert mean.shape == std.shape == (1, 3, 1, 1) and float(std.max()) == 255


def test_equal_draws_place_equal_views_of_images_and_of_maps():
    config = dict(FCN, type='HRDAHead', single_scale_head='FCNHead')
    network = TrainableSegmentor(build(type='HRDAEncoderDecoder', hr_crop_size=(32, 32), decode_head=config))
    (whole, detail), (of_map, detail_of_map) = (network.views(maps, (0.7, 0.2)) for maps in (images(), images()[:, :1]))
    assert whole.box is of_map.box is None and detail.box == detail_of_map.box == CropBox(16, 48, 0, 32)
    assert torch.equal(detail.images_BCHW, images()[:, :, 16:48, :32])
    assert whole.images_BCHW.shape == (2, 3, 32, 32) and of_map.images_BCHW.shape == (2, 1, 32, 32)


@MODELS.register_module()
class UpperHalfSegmentor(EncoderDecoder):
    """A segmentor that trains in a way of its own: on the upper half of the images."""

    def views(self, images_BCHW, draws):
        height, width = images_BCHW.shape[2:]
        box = CropBox(0, height // 2, 0, width)
        return View(images_BCHW), View(box.crop(images_BCHW), box)

    def encode(self, view):
        return ViewFeatures(tuple(self.extract_feat(view.images_BCHW)), view.box)

    def losses(self, features, labels_BHW, weights_BHW, seeds):
        half = features[1].box.crop(labels_BHW)
        logits = torch.nn.functional.interpolate(self.decode_head(features[1].levels), size=half.shape[1:])
        full = logits.new_zeros(len(logits), logits.shape[1], *labels_BHW.shape[1:])
        features[1].box.crop(full).copy_(logits)
        loss = torch.nn.functional.cross_entropy(logits, half, ignore_index=255)
        return TrainingOutput({'decode.loss_ce': loss}, full)


def test_a_segmentor_of_ones_own_implements_three_methods():
    network = TrainableSegmentor(build(type='UpperHalfSegmentor'))
    features = [network.encode(view) for view in network.views(images(), (0, 0))]
    output = network.losses(features, labels())
    assert output.losses['decode.loss_ce'] > 0 and not output.logits_BCHW[:, :, 32:].any()
    assert not network.decodes and network.predict(images()).shape == (2, 5, 64, 64)


def test_a_segmentor_of_ones_own_is_trained_by_the_wrapper():
    config = dict(type='UpperHalfSegmentor', backbone=BACKBONE, decode_head=FCN, test_cfg=dict(mode='whole'),
                  data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[255.] * 3, size=(64, 64)))
    entropy = dict(type='EntropyMinimisation')
    with pytest.raises(TypeError, match=r"\['entropy'\] predict with the student, but UpperHalfSegmentor has no method"):
        MODELS.build(dict(type='ClassMixEMA', segmentor=config, objectives=[dict(type='SourceSupervision'), entropy]))


@MODELS.register_module()
class BareSegmentor(BaseSegmentor):
    """A segmentor that has nothing but mmseg's base class, the three methods, and a head."""

    def __init__(self, head: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.stem = torch.nn.Conv2d(3, 64, 3, stride=4, padding=1)
        if head is not None:
            self.decode_head = MODELS.build(head)

    def views(self, images_BCHW, draws):
        return (View(images_BCHW), )

    def encode(self, view):
        return ViewFeatures((self.stem(view.images_BCHW), ))

    def losses(self, features, labels_BHW, weights_BHW, seeds):
        own, logits = head_losses(self.decode_head, features[0].levels, labels_BHW, weights_BHW)
        return TrainingOutput(own, logits)  # names without a dot

    def encode_decode(self, inputs, batch_img_metas):
        return self.decode_head.predict(self.extract_feat(inputs), batch_img_metas, None)

    def extract_feat(self, inputs):
        return (self.stem(inputs), )

    def loss(self, inputs, data_samples):
        raise AssertionError('its losses are asked for by the protocol')

    predict = _forward = loss


def test_a_segmentor_of_the_base_class_trains_with_every_signal():
    objectives = [dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.1),
                  dict(type='MaskedConsistency', block=16, threshold=None, weight=0.5)]
    preprocessor = dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[255.] * 3, size=(64, 64))
    config = dict(type='BareSegmentor', head=dict(FCN, in_index=0), data_preprocessor=preprocessor)
    model = MODELS.build(dict(type='UDAWrapper', segmentor=config, teacher=dict(momentum=0.9), objectives=objectives))
    data = {}
    for domain in ('source', 'target'):
        samples = [SegDataSample(metainfo=dict(img_path=f'{domain}.png')) for _ in range(2)]
        if domain == 'source':
            for sample, label in zip(samples, labels()):
                sample.gt_sem_seg = PixelData(data=label[None])
        data[domain] = dict(inputs=list((50 * images() + 100).clamp(0, 255).byte()), data_samples=samples)
    wrapper = OptimWrapper(torch.optim.SGD(model.student.parameters(), lr=0.1))
    log = model.train().train_step(data, wrapper)
    assert {'source.loss_ce', 'mix.loss_ce', 'masked.loss_ce'} <= set(log) and log['loss'].isfinite()


def test_a_segmentor_without_a_head_is_refused():
    preprocessor = dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[255.] * 3, size=(64, 64))
    with pytest.raises(TypeError, match='BareSegmentor without decode_head'):
        check_segmentor(MODELS.build(dict(type='BareSegmentor', data_preprocessor=preprocessor)))


def test_a_segmentor_that_predicts_in_a_way_of_its_own_labels_that_way():

    class Mirrored(EncoderDecoder):

        def encode_decode(self, inputs, batch_img_metas):
            return super().encode_decode(inputs.flip(3), batch_img_metas).flip(3)

    segmentor = build(type=Mirrored)
    assert torch.equal(TrainableSegmentor(segmentor).predict(images()),
                       segmentor.encode_decode(images(), [dict(img_shape=torch.Size((64, 64)))] * 2))


def test_a_part_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.delattr(UpperHalfSegmentor, 'encode')
    with pytest.raises(TypeError, match=r"UpperHalfSegmentor that lacks the methods \['encode'\]"):
        TrainableSegmentor(build(type='UpperHalfSegmentor'))


@pytest.mark.parametrize('options, message', [
    (dict(decode_head=dict(FCN, ignore_index=254)), 'seg_pad_val is 255, but the heads ignore 254'),
    (dict(decode_head=dict(FCN, ignore_index=-100)), r'ignore_index \[-100\]: give all of them the same'),
    (dict(decode_head=FCN, auxiliary_head=dict(FCN, ignore_index=254)), r'ignore_index \[254, 255\]'),
    (dict(KINDS['cascade'], decode_head=[FCN, dict(OCR, num_classes=2, out_channels=1, threshold=0.5, loss_decode=dict(
        type='CrossEntropyLoss', use_sigmoid=True))]), 'out_channels=1, which mmseg cannot evaluate in a cascade'),
    (dict(KINDS['cascade'], decode_head=[FCN, dict(
        type='PointHead', in_channels=[8], in_index=[0], channels=8, num_classes=5, num_fcs=1, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_name='loss_point'))]), 'train_cfg=dict.num_points=2048'),
    (dict(data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64))), 'no mean and std')])
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        check_segmentor(build(**options))
