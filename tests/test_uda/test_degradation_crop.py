"""Degradation consistency on random parts of the images, its cheaper form."""
import pytest
import torch
from degraded_training import DEGRADED, MIX, SOURCE, build, step
from mmseg.registry import MODELS

from mmseg_cicld.random_streams import KeyedStreams

HALF = dict(DEGRADED, crop=0.5)


def test_image_label_and_weight_are_cut_alike(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, HALF])
    step(model, batch(size=128))
    context, objective = model.contexts[0], model.objectives[-1]
    pseudo = context.pseudo_labels(objective.rule)
    levels = [int(KeyedStreams(0).uniform('degraded.level', 0, index) * 100) for index in range(2)]
    seeds = [KeyedStreams(0).integer('degraded.degradation.sample', 0, index) for index in range(2)]
    whole = dict(source=(context.source.images_BCHW, context.source.labels_BHW, None),
                 target=(context.target.images_BCHW, pseudo.labels_BHW, pseudo.weights_BHW))
    for domain, (images, labels, weights) in whole.items():
        boxes = []
        for index in range(2):
            y, x = (int(u * 65) for u in KeyedStreams(0).uniform(f'degraded.{domain}.crop', 0, index, size=2))
            boxes.append((..., slice(y, y + 64), slice(x, x + 64)))
        cut = [None if tensor is None else torch.stack([one[box] for one, box in zip(tensor, boxes)])
               for tensor in (images, labels, weights)]
        seen = model.forwards[f'degraded.{domain}']
        assert torch.equal(seen[0], objective.degradation(cut[0], levels, seeds).images_BCHW)
        assert torch.equal(seen[1], cut[1])
        assert seen[2] is None if weights is None else torch.equal(seen[2], cut[2])
        assert boxes[0] != boxes[1]


def test_both_scales_follow(hrda, batch):
    model = build(hrda, [SOURCE, MIX, HALF])
    log = step(model, batch(size=128))
    assert model.forwards['degraded.target'][0].shape == (2, 3, 64, 64)
    assert float(log['degraded.target.decode.hr.loss_ce']) > 0


@pytest.mark.parametrize('crop', [0, 1, -0.5])
def test_shares_out_of_range(crop):
    with pytest.raises(ValueError, match=f'crop={crop}, allowed are None and shares'):
        MODELS.build(dict(DEGRADED, crop=crop))


def test_images_smaller_than_the_crop_are_named(segmentor, batch):
    network = segmentor('deeplabv3plus')
    network['data_preprocessor']['size'] = (16, 16)
    with pytest.raises(ValueError, match='cuts 32 x 32 pixels out of crops of 16 x 16'):
        step(build(network, [HALF]), batch(size=16))
