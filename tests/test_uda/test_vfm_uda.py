"""The parts of VFM-UDA++ in the objectives: mirrored teacher, source and mixed losses, and the whole recipe."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.models.label_rule import LabelRule
from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.uda import EMATeacher, PhotometricAugmentation
from mmseg_cicld.uda.step_context import StepContext

STRONG = dict(type='PhotometricAugmentation', jitter_probability=1.0)
WEAK = dict(STRONG, brightness=0.1, contrast=0.5, saturation=0.5, hue=0.05, grey_probability=0.0, blur_probability=0.0)
MIX = dict(type='ClassMixSelfTraining', threshold=0.06)
SOURCE = dict(type='SourceSupervision')


def build(segmentor: dict, objectives: list, teacher: dict | None = dict(momentum=0.9, flip=True)):
    torch.manual_seed(0)
    return MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy(objectives),
                             teacher=teacher)).train()


def quiet(segmentor: dict) -> dict:
    """Without what is drawn in a forward pass, and with no norm that sees a batch."""
    segmentor['decode_head'].update(dropout_ratio=0.0, norm_cfg=dict(type='GN', num_groups=2))
    segmentor['backbone'].update(drop_path_rate=0.0)
    return segmentor


def step(model, data: dict) -> tuple[dict, StepContext, dict]:
    """One step; gives the log, the context, and by objective what the student was trained on."""
    seen, contexts = {}, []

    def before(module, args):
        if contexts:
            return
        contexts.append(args[0])
        student_losses = args[0].student_losses

        def record(name, features, batch):
            seen[name] = batch
            return student_losses(name, features, batch)

        args[0].student_losses = record

    handles = [objective.register_forward_pre_hook(before) for objective in model.objectives]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.0)))
    for handle in handles:
        handle.remove()
    return log, contexts[0], seen


def test_labels_follow_from_the_mean_of_image_and_mirror_image(segmentor):
    images = torch.randn(2, 3, 64, 64)
    teacher = EMATeacher(MODELS.build(quiet(segmentor())), flip=True).train()
    labels, confidence = teacher.labels_and_confidence(images)
    one, other = teacher.logits(images).softmax(1), teacher.logits(images.flip(3)).softmax(1).flip(3)
    expected = (one + other) / 2
    torch.testing.assert_close(confidence, expected.amax(1))
    assert torch.equal(labels, expected.argmax(1)) and not torch.equal(labels, one.argmax(1))
    mirrored = teacher.labels_and_confidence(images.flip(3))
    torch.testing.assert_close(mirrored[1].flip(2), confidence)


def test_mean_of_probabilities_is_read_by_the_threshold_of_one_channel():
    rule, logits = LabelRule(num_classes=2, threshold=0.3), torch.randn(2, 1, 4, 4)
    labels, confidence = rule.read((rule.probabilities(logits) + rule.probabilities(2 * logits)) / 2)
    mean = (logits.sigmoid() + (2 * logits).sigmoid())[:, 0] / 2
    assert torch.equal(labels, (mean > 0.3).long())
    torch.testing.assert_close(confidence, torch.where(mean > 0.3, mean, 1 - mean))


def test_mirrored_teacher_is_asked_once_a_step(segmentor, batch, monkeypatch):
    calls = []
    logits = EMATeacher.logits
    monkeypatch.setattr(EMATeacher, 'logits', lambda self, images: calls.append(1) or logits(self, images))
    step(build(segmentor(), [SOURCE, MIX, dict(type='MaskedConsistency', block=16, threshold=0.06)]), batch())
    assert len(calls) == 2  # the image and its mirror image


def test_share_of_confident_pixels_is_one_for_the_batch(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(MIX, threshold=0.08)])
    _, context, _ = step(model, batch())
    pseudo = context.pseudo_labels(model.objectives[1].rule)
    _, confidence = model.teacher.labels_and_confidence(context.target.images_BCHW)
    share = (confidence >= 0.08).float().mean()
    assert 0 < float(share) < 1
    torch.testing.assert_close(pseudo.weights_BHW, share.expand_as(pseudo.weights_BHW))


def test_source_loss_is_cross_entropy_over_labelled_pixels_of_changed_images(segmentor, batch):
    data = batch()
    data['source']['data_samples'][0].gt_sem_seg.data[:, :30] = 255
    model = build(quiet(segmentor()), [dict(SOURCE, augmentation=STRONG, avg_non_ignore=True)], teacher=None)
    log, context, seen = step(model, data)
    images, labels, weights = seen['source']
    expected = context.augmented('source', model.objectives[0].augmentation, context.source.images_BCHW)
    assert torch.equal(images, expected) and weights is None
    assert not torch.allclose(images, context.source.images_BCHW, atol=0.1)
    assert torch.equal(labels, context.source.labels_BHW) and (labels == 255).sum() == 30 * 64
    loss = F.cross_entropy(model.student.encode_decode(images, [dict(img_shape=(64, 64))] * 2), labels, ignore_index=255)
    assert float(log['source.decode.loss_ce']) == pytest.approx(float(loss), rel=1e-5)


def test_a_batch_without_labels_gives_no_loss(segmentor, batch):
    data = batch()
    for sample in data['source']['data_samples']:
        sample.gt_sem_seg.data[:] = 255
    log, *_ = step(build(segmentor(), [dict(SOURCE, avg_non_ignore=True)], teacher=None), data)
    assert float(log['source.decode.loss_ce']) == 0


@pytest.mark.parametrize('loss', [dict(type='DiceLoss'), dict(type='CrossEntropyLoss', avg_non_ignore=True),
                                  dict(type='CrossEntropyLoss', class_weight=[1.0] * 19)])
def test_means_over_other_pixels_are_refused(segmentor, loss):
    with pytest.raises(ValueError, match='source has avg_non_ignore=True.*in model.segmentor.decode_head'):
        build(segmentor(loss_decode=loss), [dict(SOURCE, avg_non_ignore=True)], teacher=None)


def test_mixed_loss_weighs_each_pixel_and_is_a_mean_over_all(segmentor, batch):
    data = batch()
    data['source']['data_samples'][1].gt_sem_seg.data[:, 20:50] = 255
    objective = dict(MIX, augmentation=STRONG, target_augmentation=WEAK)
    model = build(quiet(segmentor()), [SOURCE, objective])
    log, context, seen = step(model, data)
    images, labels, weights = seen['mix']
    pseudo, mask = context.pseudo_labels(model.objectives[1].rule), context.mix_mask()
    assert 0 < mask.float().mean() < 1
    assert torch.equal(labels, torch.where(mask, context.source.labels_BHW, pseudo.labels_BHW))
    torch.testing.assert_close(weights, torch.where(mask, 1.0, pseudo.weights_BHW))
    target = context.augmented('mix.target', PhotometricAugmentation(**{k: v for k, v in WEAK.items() if k != 'type'}),
                               context.target.images_BCHW)
    assert not torch.allclose(target, context.target.images_BCHW, atol=0.1)
    mixed = torch.where(mask[:, None], context.source.images_BCHW, target)
    torch.testing.assert_close(images, context.augmented('mix', model.objectives[1].augmentation, mixed))
    logits = model.student.encode_decode(images, [dict(img_shape=(64, 64))] * 2)
    values = F.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    assert float(log['mix.decode.loss_ce']) == pytest.approx(float((values * weights).mean()), rel=1e-5)
    # Pseudo-labels are those of the clean image.
    assert torch.equal(pseudo.labels_BHW, model.teacher.labels_and_confidence(context.target.images_BCHW)[0])


def test_draws_of_one_image_are_those_of_any_batch(segmentor, batch):
    model = build(segmentor(), [SOURCE])
    data = batch(images=3)
    _, context, _ = step(model, data)
    augmentation = PhotometricAugmentation()
    whole = context.augmented('source', augmentation, context.source.images_BCHW)
    other = StepContext(context.source, context.target, 1, KeyedStreams(0), context.student, None)
    first = context.augmented('source', augmentation, context.source.images_BCHW[:1])
    torch.testing.assert_close(first, whole[:1])
    assert not torch.allclose(other.augmented('source', augmentation, context.source.images_BCHW), whole, atol=0.1)


def test_target_colours_are_checked_like_others(segmentor):
    config = segmentor()
    config['data_preprocessor'].update(mean=[9.0], std=[3.0], bgr_to_rgb=False)
    intensity = dict(type='IntensityAugmentation')
    with pytest.raises(ValueError, match='set target_augmentation of mix=dict'):
        build(config, [SOURCE, dict(MIX, augmentation=intensity, target_augmentation=WEAK)])
    with pytest.raises(ValueError, match='set augmentation of source=dict'):
        build(config, [dict(SOURCE, augmentation=STRONG)])
