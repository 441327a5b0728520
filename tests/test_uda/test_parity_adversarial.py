"""Output-space adversary and entropy minimisation against numbers recorded from the published implementation."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_cicld.uda.objectives.output_adversarial import build_discriminator
from parity_rules import fill, fill_model, image, ours_to_reference, stats
from pass_through import PassThrough

ROOT = Path(__file__).parents[2]
# float64 may differ by what summing in another order does; float32 as the fixture's own two runs differ.
LOSS = dict(f64=1e-8, f32=2e-4)
GRADIENT = dict(f64=1e-7, f32=5e-3)


@pytest.fixture(scope='module')
def recorded():
    return np.load(ROOT / 'tests/data/parity/G_adv_minent.npz')


def fill_discriminator(discriminator, names) -> None:
    for name, parameter in zip(names, discriminator.parameters()):
        parameter.data.copy_(torch.from_numpy(fill(name, tuple(parameter.shape), 'model_D.main.')))


def build(objective: dict, dtype: torch.dtype, names):
    segmentor = Config.fromfile(ROOT / 'configs/_base_/models/daformer_sepaspp_mit-b0.py').model
    segmentor.backbone.update(init_cfg=None, drop_path_rate=0.0)
    segmentor.decode_head.dropout_ratio = 0.0
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor,
                              objectives=[dict(type='SourceSupervision'), objective]))
    fill_model(model.student)
    if hasattr(model.objectives[1], 'discriminator'):
        fill_discriminator(model.objectives[1].discriminator, names)
    model.to(dtype)
    model.data_preprocessor = model.student.data_preprocessor = PassThrough().to(dtype)
    return model.train()


def batch(recorded, iteration: int, dtype: torch.dtype) -> dict:
    out = {}
    for domain, key in (('source', 'src'), ('target', 'trg')):
        samples = [SegDataSample() for _ in range(2)]
        if domain == 'source':
            for sample, label in zip(samples, recorded['in/labels_src'][iteration]):
                sample.gt_sem_seg = PixelData(data=torch.from_numpy(label).long()[None])
        images = image(f'visible/G/{key}{iteration}', (2, 3, 96, 96))
        out[domain] = dict(inputs=torch.from_numpy(images).to(dtype), data_samples=samples)
    return out


def norms(parameters) -> np.ndarray:
    return np.array([float(p.grad.double().norm()) for p in parameters])


def reference_gradient_norms(student) -> dict[str, float]:
    gradients = {name: p.grad.double() for name, p in student.named_parameters()}
    return {name: float(gradient.norm()) for name, gradient in ours_to_reference(gradients).items()}


@pytest.mark.parametrize('precision', ['f64', 'f32'])
@pytest.mark.parametrize('kind', ['adv', 'ent'])
def test_two_steps(recorded, kind, precision):
    dtype = torch.float64 if precision == 'f64' else torch.float32
    names = recorded['in/disc.names'].tolist()
    objective = dict(type='OutputSpaceAdversarial', weight=0.1) if kind == 'adv' else \
        dict(type='EntropyMinimisation', weight=0.1)
    model = build(objective, dtype, names)
    initial = {name: tensor.clone() for name, tensor in ours_to_reference(model.student.state_dict()).items()}
    sgd = torch.optim.SGD(model.student.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)
    adversary = list(model.objectives[1].parameters())
    adam = torch.optim.Adam(adversary, lr=1e-4, betas=(0.9, 0.99)) if adversary else None
    first = {name: p.detach().clone() for name, p in zip(names, adversary)}

    def expected(key):
        return recorded[f'{precision}/{key}']

    def compare_gradients(*args):
        ours = reference_gradient_norms(model.student)
        theirs = expected(f'{kind}.student_grad_l2')[iteration]
        ours = np.array([ours[name] for name in recorded['in/param_names'].tolist()])
        np.testing.assert_allclose(ours, theirs, rtol=GRADIENT[precision], atol=GRADIENT[precision] * theirs.max())
        if adam:
            theirs = expected('adv.disc_grad_l2')[iteration]
            np.testing.assert_allclose(norms(adversary), theirs, rtol=GRADIENT[precision])
            adam.param_groups[0]['lr'] = float(expected('adv.disc_lr')[iteration])
            adam.step()
            adam.zero_grad()

    sgd.register_step_pre_hook(compare_gradients)
    pairs = {'decode.loss_seg': 'source.decode.loss_ce'}
    pairs.update({'G_trg.loss.main': 'adversarial.loss_student',
                  'D_src.loss.main': 'adversarial.loss_discriminator_source',
                  'D_trg.loss.main': 'adversarial.loss_discriminator_target'}
                 if adam else {'ent.loss.main': 'entropy.loss'})
    for iteration in range(2):
        sgd.param_groups[0]['lr'] = float(expected('lr_student')[iteration])
        log = model.train_step(batch(recorded, iteration, dtype), OptimWrapper(sgd))
        for theirs, ours in pairs.items():
            np.testing.assert_allclose(float(log[ours]), expected(f'{kind}.log.{theirs}')[iteration],
                                       rtol=LOSS[precision], err_msg=ours)
    if precision == 'f32':
        return  # updates of two steps are at the resolution of float32
    tensors = ours_to_reference(model.student.state_dict())
    for name, row in zip(recorded['in/selected'].tolist(), expected(f'{kind}.student_sel_after2')):
        np.testing.assert_allclose(stats(tensors[name], initial[name]), row, rtol=1e-6, atol=1e-9, err_msg=name)
    if adam:
        for name, parameter, row in zip(names, adversary, expected('adv.disc_after2')):
            np.testing.assert_allclose(stats(parameter, first[name]), row, rtol=1e-6, atol=1e-9, err_msg=name)


def test_discriminator(recorded):
    logits = torch.from_numpy(image('visible/G/dimg', (2, 3, 96, 96))).repeat(1, 7, 1, 1)[:, :19]
    logits = (logits * torch.linspace(0.5, 1.5, 19)[:, None, None]).double()  # scaled in float32
    discriminator = build_discriminator(19).double()
    fill_discriminator(discriminator, recorded['in/disc.names'].tolist())
    np.testing.assert_allclose(discriminator(logits.softmax(dim=1)).detach(), recorded['f64/disc.out'], atol=1e-10)
