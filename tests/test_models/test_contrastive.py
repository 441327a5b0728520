"""The pixel-class contrastive loss against its formula."""
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_cicld.models.losses import PixelClassContrastiveLoss

T = 0.5


def maps(seed: int, labels: list) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return features.requires_grad_(), torch.tensor([labels])


def contrastive() -> PixelClassContrastiveLoss:
    return MODELS.build(dict(type='PixelClassContrastiveLoss', num_classes=5, temperature=T))


def one_way(anchors, labels, keys, key_labels) -> torch.Tensor:
    """The formula in loops; class 255 is ignored, and so are anchors whose class has no key."""
    anchors, keys = (F.normalize(f[0].flatten(1).T, dim=1) for f in (anchors, keys))
    labels, key_labels = labels.flatten().tolist(), key_labels.flatten().tolist()
    means = {k: F.normalize(sum(z for z, c in zip(keys, key_labels) if c == k), dim=0)
             for k in set(key_labels) if k != 255}
    classes = []
    for k in sorted(set(labels) & set(means)):
        terms = [-((z @ means[k] / T).exp() / sum((z @ m / T).exp() for m in means.values())).log()
                 for z, c in zip(anchors, labels) if c == k]
        classes.append(sum(terms) / len(terms))
    return sum(classes) / len(classes)


def test_value_is_that_of_the_formula():
    one, other = maps(0, [[0, 1, 1], [3, 255, 0]]), maps(1, [[1, 0, 2], [2, 255, 1]])
    expected = (one_way(*one, *other) + one_way(*other, *one)) / 2
    assert float(contrastive()(one, other).detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_ignored_and_unmatched_pixels_get_no_gradient():
    one, other = maps(0, [[0, 1, 1], [3, 255, 0]]), maps(1, [[1, 0, 2], [2, 255, 1]])
    contrastive()(one, other).backward()
    moved = one[0].grad[0].abs().sum(dim=0) > 0
    assert moved.tolist() == [[True, True, True], [False, False, True]]  # class 3 is not in the other set


def test_class_means_are_keys_without_gradient():
    one = maps(0, [[0, 0, 0], [0, 0, 0]])
    other = maps(1, [[0, 1, 255], [255, 255, 255]])
    contrastive()(one, other).backward()
    # The pixel of class 1 is a key of every anchor of the first set, and finds no mean of its class there.
    assert float(other[0].grad[0, :, 0, 1].abs().max()) == 0
    assert float(one[0].grad.abs().max()) > 0


def test_each_class_weighs_the_same():
    one, other = maps(0, [[0, 0, 0], [0, 0, 1]]), maps(1, [[0, 1, 2], [0, 1, 2]])
    five = one_way(one[0], torch.tensor([[[0, 0, 0], [0, 0, 255]]]), *other)
    lone = one_way(one[0], torch.tensor([[[255] * 3, [255, 255, 1]]]), *other)
    expected = ((five + lone) / 2 + one_way(*other, *one)) / 2
    assert float(contrastive()(one, other).detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_values_of_half_precision_are_computed_in_full():
    sets = maps(0, [[0, 1, 1], [3, 255, 0]]), maps(1, [[1, 0, 2], [2, 255, 1]])
    half = [(features.detach().bfloat16(), labels) for features, labels in sets]
    with torch.autocast('cpu', torch.bfloat16):
        found = contrastive()(*half)
    assert float(found) == float(contrastive()(*((features.float(), labels) for features, labels in half)))


@pytest.mark.parametrize('labels', [[[255] * 3] * 2, [[4] * 3] * 2])
def test_sets_without_a_common_class_give_zero(labels):
    one, other = maps(0, labels), maps(1, [[0, 1, 1], [2, 255, 255]])
    loss = contrastive()(one, other)
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(one[0].grad.abs().max()) == float(other[0].grad.abs().max()) == 0


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match='temperature=0'):
        PixelClassContrastiveLoss(num_classes=3, temperature=0)
    with pytest.raises(ValueError, match='differ in size'):
        contrastive()(maps(0, [[0, 1, 1], [3, 255, 0]]), (maps(1, [[0] * 3] * 2)[0], torch.zeros(1, 4, 6).long()))
