"""Any mmseg segmentor tells how far images are from their labels."""
import pytest
import torch
from tiny_segmentors import CLASSES, PREPROCESSOR, SEGMENTORS, block_labels, tiny_segmentor

from mmseg_cicld.translation import SegmentationGuide


def images(batch=2, size=32):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(7)) * 2 - 1


@pytest.mark.parametrize('name', SEGMENTORS)
def test_every_pixel_of_the_image_is_guided(name):
    guide = SegmentationGuide(tiny_segmentor(name))
    seen = images(size=64).requires_grad_()
    loss = guide(seen, block_labels(size=64))
    assert loss.shape == (2, 64, 64) and loss.min() >= 0
    loss.mean().backward()
    assert (seen.grad != 0).float().mean() > 0.9
    assert not any(module.training for module in guide.modules())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in guide.parameters())


def test_hrda_is_guided_through_its_context_too():
    seen = images(size=64).requires_grad_()
    tiny_segmentor('hrda').extract_feat(seen)[0].square().sum().backward()
    assert float(seen.grad.abs().sum()) > 0


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_sees_images_as_mmseg_prepares_them(bgr_to_rgb):
    segmentor = tiny_segmentor(data_preprocessor=dict(PREPROCESSOR, bgr_to_rgb=bgr_to_rgb))
    guide = SegmentationGuide(segmentor)
    file_BHW = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)  # OpenCV reads blue, green, red
    prepared = segmentor.data_preprocessor(dict(inputs=[file_BHW]))['inputs']
    rgb = file_BHW[[2, 1, 0]].float()[None] / 127.5 - 1
    expected = segmentor.encode_decode(prepared, [dict(img_shape=(32, 32), ori_shape=(32, 32))])
    torch.testing.assert_close(guide.logits(rgb), expected)


def test_ignored_pixels_cost_nothing_and_logits_take_the_size_of_the_labels():
    guide = SegmentationGuide(tiny_segmentor())
    labels = block_labels(size=64)
    labels[:, 5] = 255
    loss = guide(images(), labels)
    assert loss.shape == (2, 64, 64)
    assert loss[:, 5].eq(0).all() and loss[:, 6:].gt(0).all()
    labels[:] = 255
    assert guide(images(), labels).eq(0).all()


@pytest.mark.parametrize('wrong, ids', [(CLASSES, r'\[5\]'), (-1, r'\[-1\]'), (254, r'\[254\]')])
def test_labels_outside_the_classes_are_refused(wrong, ids):
    guide, labels = SegmentationGuide(tiny_segmentor()), block_labels()
    labels[0, 3, 4] = 255
    guide.check_labels(labels)
    labels[1, 0, 0] = wrong
    with pytest.raises(ValueError, match=f'the ids {ids}, but .* the classes 0 to 4 .*label_map'):
        guide.check_labels(labels)


def test_segmentors_that_cannot_guide_are_refused():
    with pytest.raises(TypeError, match='labels are torch.uint8, allowed is torch.int64'):
        SegmentationGuide(tiny_segmentor()).check_labels(block_labels().byte())
    with pytest.raises(ValueError, match='no mean and std.*data_preprocessor'):
        SegmentationGuide(tiny_segmentor(data_preprocessor=dict(type='SegDataPreProcessor')))
    binary = dict(SEGMENTORS['segformer']['decode_head'], num_classes=2, out_channels=1, threshold=0.3,
                  loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    with pytest.raises(ValueError, match='gives 1 logits for 2 classes: set model.decode_head.out_channels=2'):
        SegmentationGuide(tiny_segmentor(decode_head=binary))
