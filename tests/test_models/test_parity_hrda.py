"""Two-scale segmentors against numbers recorded from the published HRDA implementation.

The tag ``daf`` is the published network with a small encoder, ``alt`` has one attention map and a context loss,
``dlv2`` is built on DeepLabV2. Every measurement starts from the same weights. float64 is the sharp comparison
and runs with ``-m float64`` alone, see CONTRIBUTING.md.
"""
import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from numpy.testing import assert_allclose
from parity_fixtures import Fixture, segmentor_config
from parity_rules import checksum, fill_model, image, ours_to_reference, stats
from parity_tolerances import tolerances
from pass_through import PassThrough
from training_forward import predict_logits, train_forward

from mmseg_cicld.models.crop_box import CropBox

TAGS = ['daf', 'alt', 'dlv2']
BOXES = [('daf', 0), ('daf', 1), ('alt', 0), ('dlv2', 0)]


@pytest.fixture(scope='module', params=[pytest.param('f64', marks=pytest.mark.float64), 'f32'])
def fixture(request):
    return Fixture('C_hrda', request.param)


class Measured:
    """A segmentor of the fixture, its inputs, and the comparison of what it computes."""

    def __init__(self, fixture: Fixture, tag: str) -> None:
        self.fixture, self.tag = fixture, tag
        kind, options = next(run[1:3] for run in fixture.config['runs'] if run[0] == tag)
        self.tolerances = tolerances(fixture.precision, resnet=kind == 'r50')
        config = segmentor_config(kind, options)
        config.test_cfg = fixture.config['test_cfg']
        self.model = MODELS.build(config)
        fill_model(self.model)
        self.model.to(fixture.dtype)
        self.model.data_preprocessor = PassThrough().to(fixture.dtype)
        self.images = self.image('img', (2, 3, 128, 128))
        self.labels = torch.from_numpy(fixture.given(f'{tag}.label')).long()

    def image(self, name: str, shape) -> torch.Tensor:
        pixels = image(f'visible/C_hrda/{self.tag}/{name}', tuple(shape))
        recorded = f'{self.tag}.img_checksum' if name == 'img' else f'{self.tag}.slide_img_checksum'
        assert_allclose(checksum(pixels), self.fixture.given(recorded), atol=1e-12)
        return torch.from_numpy(pixels).to(self.fixture.dtype)

    def box(self, index: int) -> CropBox:
        return CropBox(*self.fixture.given(f'{self.tag}.boxes')[index].tolist())

    def draws(self, box: CropBox) -> list[float]:
        grid = self.model.crop_coord_divisible
        positions = [(side - crop + 1) // grid for side, crop in zip(self.images.shape[2:], box.size)]
        return [(offset // grid + 0.5) / count for offset, count in zip((box.y1, box.x1), positions)]

    def close(self, key: str, ours, tolerance: float) -> None:
        assert_allclose(np.asarray(ours), self.fixture[f'{self.tag}.{key}'], rtol=0, atol=tolerance, err_msg=key)

    def losses(self, prefix: str, losses: dict, box: CropBox) -> None:
        # mmseg rounds pixel weights to float32 inside the cross entropy.
        tolerance = max(self.tolerances.loss[0], 1e-7 if prefix.endswith('weighted') else 0)
        for key, value in losses.items():
            value = value.detach()
            if 'acc_seg' in key:
                labels = box.crop(self.labels) if '.hr.' in key else self.labels
                # The published accuracy counts ignored pixels as wrong, that of mmseg 1.x leaves them out.
                value = value * (labels != 255).double().mean()
                self.close(f'{prefix}.{key}', value.reshape(()), self.tolerances.accuracy)
            else:
                name = f'{self.tag}.{prefix}.{key.replace("loss_ce", "loss_seg")}'
                assert_allclose(float(value), self.fixture[name], rtol=tolerance, err_msg=name)

    def gradients(self, prefix: str) -> None:
        ours = ours_to_reference({name: p.grad for name, p in self.model.named_parameters()})
        theirs = self.fixture[f'{self.tag}.{prefix}.grad_l2']
        norms = [float(ours[name].double().norm()) for name in self.fixture.given(f'{self.tag}.param_names').tolist()]
        assert_allclose(norms, theirs, rtol=0, atol=self.tolerances.gradient * theirs.max())

    def buffers(self, key: str) -> None:
        buffers = dict(self.model.named_buffers())
        for name, row in zip(self.fixture.given(f'{self.tag}.buffers').tolist(), self.fixture[f'{self.tag}.{key}']):
            ours, values = stats(buffers[name]), self.tolerances.values or self.tolerances.logits[0]
            assert_allclose(ours[:7], row[:7], rtol=0, atol=values, err_msg=name)
            assert_allclose(ours[7], row[7], rtol=self.tolerances.norms, err_msg=name)


@pytest.mark.parametrize('weighted', [False, True], ids=['plain', 'weighted'])
@pytest.mark.parametrize('tag, index', BOXES)
def test_losses_and_gradients(fixture, tag, index, weighted):
    measured = Measured(fixture, tag)
    model, box = measured.model.train(), measured.box(index)
    weights = torch.from_numpy(fixture.given(f'{tag}.weight')).to(fixture.dtype) if weighted else None
    losses = train_forward(model, measured.images, measured.labels, weights, measured.draws(box)).losses
    loss = sum(value for key, value in losses.items() if 'loss' in key)
    loss.backward()
    prefix = f'box{index}.{"weighted" if weighted else "plain"}'
    measured.losses(prefix, dict(losses, loss=loss), box)
    assert len(losses) + 1 == sum('loss' in key or 'acc' in key for key in fixture.results(f'{tag}.{prefix}.'))
    measured.gradients(prefix)
    if f'{tag}.{prefix}.buffers_after' in fixture:
        measured.buffers(f'{prefix}.buffers_after')


@pytest.mark.parametrize('tag, index', BOXES)
def test_logits_of_training(fixture, tag, index):
    measured = Measured(fixture, tag)
    model = measured.model.train()
    with torch.no_grad():
        features = model.extract_scales(measured.images, [measured.box(index)])
        logits = model.decode_head.scale_logits(features)
    for name, ours in zip(('fused', 'lr', 'hr'), logits):
        measured.close(f'box{index}.plain.{name}_slice', ours[:, :, ::4, ::4], measured.tolerances.logits[0])
        measured.close(f'box{index}.plain.{name}_checksum', checksum(ours), measured.tolerances.logits[0])


@pytest.mark.parametrize('tag', TAGS)
def test_logits_of_a_teacher(fixture, tag):
    """Sliding windows in training mode, whose batch norms see all windows at once."""
    measured = Measured(fixture, tag)
    tolerance = measured.tolerances.logits[0]
    with torch.no_grad():
        coarse = measured.model.train()(measured.images, mode='tensor')
    if fixture.precision == 'f64':
        measured.close('pseudo_train_stride', coarse, 1e-6)  # stored in float32
    measured.close('pseudo_train_stride_checksum', checksum(coarse), tolerance)
    measured = Measured(fixture, tag)
    with torch.no_grad():
        logits = predict_logits(measured.model.train(), measured.images)
    measured.close('pseudo_train_up_slice', logits[:, :, 3::8, 5::8], tolerance)
    measured.close('pseudo_train_up_checksum', checksum(logits), tolerance)


@pytest.mark.parametrize('tag', TAGS)
def test_logits_of_evaluation(fixture, tag):
    measured = Measured(fixture, tag)
    with torch.no_grad():
        logits = predict_logits(measured.model.eval(), measured.images)
    measured.close('eval_whole_slice', logits[:, :, 3::8, 5::8], measured.tolerances.eval_logits)
    measured.close('eval_whole_checksum', checksum(logits), measured.tolerances.eval_logits)


@pytest.mark.parametrize('batched', [True, False])
def test_sliding_inference(fixture, batched):
    measured = Measured(fixture, 'daf')
    tolerance, model = measured.tolerances.eval_logits, measured.model.eval()
    model.test_cfg.batched_slide = batched
    size, original = tuple(fixture.given('daf.slide_shape')[2:].tolist()), tuple(fixture.config['ori'][:2])
    images = measured.image('big', fixture.given('daf.slide_shape'))
    sample = SegDataSample(metainfo=dict(img_shape=size, pad_shape=size, ori_shape=original, padding_size=[0] * 4))
    with torch.no_grad():
        logits = model.inference(images, [sample.metainfo])
        predicted = model.predict(images, [sample])[0]
    measured.close('eval_slide_slice', logits[:, :, 3::8, 5::8], tolerance)
    measured.close('eval_slide_checksum', checksum(logits), tolerance)
    probabilities = predicted.seg_logits.data.softmax(dim=0)[None]
    measured.close('eval_prob_ori_slice', probabilities[:, :, 3::16, 5::16], tolerance)
    measured.close('eval_prob_ori_checksum', checksum(probabilities), tolerance)
    wrong = int((predicted.pred_sem_seg.data.numpy() != fixture['daf.eval_pred_ori']).sum())
    assert wrong <= measured.tolerances.labels
