"""Which part of the loss guides, and how strongly."""
import pytest
import torch
from closed_form import linear_guide

from mmseg_cicld.translation import SemanticGuidance, build_settings

LABELS = torch.tensor([[[0, 0, 0, 1], [0, 2, 2, 1], [255, 2, 1, 1]], [[3, 3, 3, 3], [3, 255, 255, 3], [3, 3, 3, 0]]])
SAMPLE = torch.rand(2, 3, 3, 4, generator=torch.Generator().manual_seed(2)) - 0.5


def gradient(window=3, step=0, labels=LABELS, sample=SAMPLE, **settings):
    """The gradient of LCG (or as the settings say) of a linear segmentor."""
    variable = sample.clone().requires_grad_()
    settings = dict(order='local', normalise=None, local_scale=1., global_scale=1.) | settings
    return SemanticGuidance(**settings).gradient(step, linear_guide(window)(variable, labels), labels, variable)


def gradient_of_class(index, window=3):
    """The gradient of the mean loss in the region of a class, alone."""
    return gradient(window, labels=torch.where(index == LABELS, LABELS, 255), order='global')


def region(index):
    return (index == LABELS)[:, None].float()


@pytest.mark.parametrize('window', [1, 3])
def test_per_class_form_keeps_of_each_class_its_own_region(window):
    expected = sum(region(index) * gradient_of_class(index, window) for index in range(4))
    torch.testing.assert_close(gradient(window, local_form='per_class'), expected)


def test_forms_are_one_where_pixels_do_not_see_each_other():
    found = gradient(window=1)
    torch.testing.assert_close(found, gradient(window=1, local_form='per_class'))
    assert float(found.abs().min(dim=1).values[LABELS != 255].min()) > 0


def test_forms_differ_by_what_one_region_does_to_another():
    """In one pass, a place is moved by the losses of the regions beside it, too: by that, and by nothing else."""
    crossing = sum((sum(region(other) for other in range(4)) - region(index)) * gradient_of_class(index)
                   for index in range(4))
    found, reference = gradient(), gradient(local_form='per_class')
    torch.testing.assert_close(found - reference, crossing)
    assert float(crossing.abs().max()) > 0.1 * float(reference.abs().max())


def test_local_loss_is_a_mean_of_each_region_and_global_of_the_image():
    twice = torch.cat([LABELS, LABELS], dim=2), torch.cat([SAMPLE, SAMPLE], dim=3)
    for order in ('local', 'global'):
        once = gradient(1, order=order)
        halved = gradient(1, order=order, labels=twice[0], sample=twice[1])
        torch.testing.assert_close(halved[..., :4], once / 2)
    error = linear_guide(1)(SAMPLE, LABELS)
    assert LABELS[1].eq(0).sum() == 1  # a region of one pixel counts as much as one of nine
    ratio = gradient(1)[1, :, 2, 3] / gradient(1, order='global')[1, :, 2, 3]
    torch.testing.assert_close(ratio, torch.full((3, ), 10.))
    assert error[1, 2, 3] > 0


def test_weights_of_pixels_are_one_on_average_whatever_the_size():
    twice = torch.cat([LABELS, LABELS], dim=2), torch.cat([SAMPLE, SAMPLE], dim=3)
    for order in ('local', 'global'):
        found = gradient(1, order=order, normalise='pixels', labels=twice[0], sample=twice[1])
        torch.testing.assert_close(found[..., :4], gradient(1, order=order, normalise='pixels'))
    # 11 labelled pixels and 3 regions; 10 and 2
    factors = torch.tensor([11 / 3, 10 / 2])[:, None, None, None]
    torch.testing.assert_close(gradient(normalise='pixels'), factors * gradient())
    factors = torch.tensor([11., 10.])[:, None, None, None]
    torch.testing.assert_close(gradient(order='global', normalise='pixels'), factors * gradient(order='global'))


@pytest.mark.parametrize('local_form', ['one_pass', 'per_class'])
def test_rms_is_one_in_each_region_and_in_the_image(local_form):
    found = gradient(normalise='rms', local_form=local_form)
    for image in range(2):
        for index in LABELS[image].unique():
            squares = found[image][:, LABELS[image] == index].square()
            torch.testing.assert_close(squares.mean(), torch.tensor(float(index != 255)))
    squares = gradient(order='global', normalise='rms').square()
    torch.testing.assert_close(squares.mean((1, 2, 3)), torch.ones(2))
    assert gradient(normalise='rms', labels=torch.full_like(LABELS, 255)).eq(0).all()


def test_clip_bounds_each_element_before_the_scale():
    free = gradient(local_scale=2.)
    limit = float(free.abs().median()) / 2
    torch.testing.assert_close(gradient(local_scale=2., clip=limit), free.clamp(-2 * limit, 2 * limit))


def test_images_do_not_see_each_other():
    for settings in (dict(), dict(order='global'), dict(normalise='rms'), dict(normalise='pixels')):
        both = gradient(**settings)
        for image in range(2):
            one = slice(image, image + 1)
            torch.testing.assert_close(gradient(labels=LABELS[one], sample=SAMPLE[one], **settings), both[one])


def test_even_steps_are_local_and_odd_ones_global():
    guidance = SemanticGuidance(local_scale=2., global_scale=3.)
    assert [guidance.terms(step) for step in range(3)] == [[('local', 2.)], [('global', 3.)], [('local', 2.)]]
    assert SemanticGuidance(order='both').terms(1) == [('local', 0.03), ('global', 0.03)]
    assert SemanticGuidance(order='local').terms(1) == [('local', 0.03)]
    assert SemanticGuidance(order='both', local_scale=0).terms(0) == [('global', 0.03)]
    expected = gradient(local_scale=2.) + gradient(order='global', global_scale=3.)
    torch.testing.assert_close(gradient(order='both', local_scale=2., global_scale=3.), expected)


def test_latent_places_take_the_label_of_their_middle():
    """Each place of the latent is seen as four by four pixels, all of one class but for the first row and column."""
    labels = torch.tensor([[[0, 1], [2, 3]]]).repeat_interleave(4, 1).repeat_interleave(4, 2)
    edges = labels.clone()
    edges[:, ::4], edges[:, :, ::4] = 255, 255
    latent = torch.rand(1, 3, 2, 2).requires_grad_()
    images = latent.repeat_interleave(4, 2).repeat_interleave(4, 3)
    for form in ('one_pass', 'per_class'):
        whole, inner = (SemanticGuidance(order='local', local_form=form, normalise=None).gradient(
            0, linear_guide(1)(images, given), given, latent) for given in (labels, edges))
        assert float(whole.abs().min()) > 0
        torch.testing.assert_close(inner, whole)  # means of equal losses, which the middle of a place lets through


@pytest.mark.parametrize('settings, message', [
    (dict(order='odd'), r"guidance.order is 'odd', allowed are \('alternate', 'both', 'local', 'global'\)"),
    (dict(local_form='all'), "guidance.local_form is 'all'"), (dict(through='unet'), "guidance.through is 'unet'"),
    (dict(normalise='l2'), "guidance.normalise is 'l2'"), (dict(local_scale=-1), 'guidance.local_scale is -1'),
    (dict(global_scale=float('nan')), 'guidance.global_scale is nan'), (dict(clip=0), 'guidance.clip is 0'),
    (dict(scale=1), 'guidance has no scale; it has clip, global_scale, local_form, local_scale')])
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_settings(SemanticGuidance, settings, 'guidance')


def test_a_loss_without_gradient_is_refused():
    variable = SAMPLE.clone().requires_grad_()
    loss = linear_guide()(variable.detach(), LABELS)
    with pytest.raises(ValueError, match='guiding segmentor cuts it off'):
        SemanticGuidance().gradient(0, loss, LABELS, variable)
