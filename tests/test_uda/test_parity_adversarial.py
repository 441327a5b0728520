"""Output-space adversary and entropy minimisation against numbers recorded from the published implementation."""
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from parity_rules import checksum, fill, fill_model, image, ours_to_reference, stats
from parity_tolerances import tolerances
from pass_through import PassThrough

from mmseg_cicld.uda.objectives.output_adversarial import build_discriminator

ROOT = Path(__file__).parents[2]
OBJECTIVES = dict(adv=dict(type='OutputSpaceAdversarial', weight=0.1), ent=dict(type='EntropyMinimisation', weight=0.1))
LOGS = dict(
    adv={'decode.loss_seg': 'source.decode.loss_ce', 'G_trg.loss.main': 'adversarial.loss_student',
         'D_src.loss.main': 'adversarial.loss_discriminator_source',
         'D_trg.loss.main': 'adversarial.loss_discriminator_target'},
    ent={'decode.loss_seg': 'source.decode.loss_ce', 'ent.loss.main': 'entropy.loss'})


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
        np.testing.assert_allclose(checksum(images), recorded[f'in/img_checksum_{key}{iteration}'], atol=1e-12)
        out[domain] = dict(inputs=torch.from_numpy(images).to(dtype), data_samples=samples)
    return out


class Comparison:
    """Two steps with one of the objectives, compared with what was recorded."""

    def __init__(self, recorded, kind: str, precision: str) -> None:
        self.recorded, self.kind, self.precision = recorded, kind, precision
        self.dtype = torch.float64 if precision == 'f64' else torch.float32
        self.tolerances = tolerances(precision)
        self.names = recorded['in/disc.names'].tolist()
        self.model = build(OBJECTIVES[kind], self.dtype, self.names)
        self.initial = ours_to_reference(copy.deepcopy(self.model.student.state_dict()))
        self.sgd = torch.optim.SGD(self.model.student.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)
        self.adversary = dict(zip(self.names, self.model.objectives[1].parameters()))
        if self.adversary:  # published with an optimiser of its own; this one only has to know it
            self.sgd.add_param_group(dict(params=list(self.adversary.values()), lr=0.0, weight_decay=0.0))
        self.adam = torch.optim.Adam(self.adversary.values(), lr=1e-4, betas=(0.9, 0.99)) if self.adversary else None
        self.first = {name: p.detach().clone() for name, p in self.adversary.items()}

    def expected(self, key: str, own: bool = True):
        return self.recorded[f'{self.precision}/{self.kind}.{key}' if own else f'{self.precision}/{key}']

    def run(self) -> None:
        for iteration in range(2):
            hook = self.sgd.register_step_pre_hook(lambda *_, iteration=iteration: self.gradients(iteration))
            self.sgd.param_groups[0]['lr'] = float(self.expected('lr_student', own=False)[iteration])
            data = batch(self.recorded, iteration, self.dtype)
            self.log(iteration, self.model.train_step(data, OptimWrapper(self.sgd)))
            hook.remove()
        self.weights()

    def log(self, iteration: int, log: dict) -> None:
        for theirs, ours in LOGS[self.kind].items():
            np.testing.assert_allclose(float(log[ours]), self.expected(f'log.{theirs}')[iteration],
                                       rtol=self.tolerances.loss[iteration], err_msg=ours)
        # The published accuracy counts ignored pixels as wrong, that of mmseg 1.x leaves them out.
        labelled = float((self.recorded['in/labels_src'][iteration] != 255).mean())
        np.testing.assert_allclose(float(log['source.decode.acc_seg']) * labelled,
                                   self.expected('log.decode.acc_seg')[iteration], atol=self.tolerances.accuracy)

    def gradients(self, iteration: int) -> None:
        ours = ours_to_reference({name: p.grad.double() for name, p in self.model.student.named_parameters()})
        self.norms([ours[name] for name in self.recorded['in/param_names'].tolist()],
                   self.expected('student_grad_l2')[iteration])
        if self.adam:
            self.norms([p.grad.double() for p in self.adversary.values()], self.expected('disc_grad_l2')[iteration])
            self.adam.param_groups[0]['lr'] = float(self.expected('disc_lr')[iteration])
            self.adam.step()
            self.adam.zero_grad()

    def norms(self, gradients, theirs) -> None:
        np.testing.assert_allclose([float(gradient.norm()) for gradient in gradients], theirs, rtol=0,
                                   atol=self.tolerances.gradient * theirs.max())

    def weights(self) -> None:
        rate = float(self.expected('lr_student', own=False)[1])
        tensors = ours_to_reference(self.model.student.state_dict())
        for name, row in zip(self.recorded['in/selected'].tolist(), self.expected('student_sel_after2')):
            self.tensor(name, stats(tensors[name], self.initial[name]), row, rate)
        if self.adam:
            rate = float(self.expected('disc_lr')[1])
            for name, row in zip(self.names, self.expected('disc_after2')):
                self.tensor(name, stats(self.adversary[name], self.first[name]), row, rate)

    def tensor(self, name: str, ours, theirs, rate: float) -> None:
        values = rate if self.tolerances.values is None else self.tolerances.values
        np.testing.assert_allclose(ours[:7], theirs[:7], rtol=0, atol=values, err_msg=name)
        np.testing.assert_allclose(ours[7], theirs[7], rtol=self.tolerances.norms, err_msg=name)
        np.testing.assert_allclose(ours[8], theirs[8], rtol=self.tolerances.change, err_msg=name)


@pytest.mark.parametrize('precision', ['f64', 'f32'])
@pytest.mark.parametrize('kind', OBJECTIVES)
def test_two_steps(recorded, kind, precision):
    Comparison(recorded, kind, precision).run()


def test_discriminator(recorded):
    logits = torch.from_numpy(image('visible/G/dimg', (2, 3, 96, 96))).repeat(1, 7, 1, 1)[:, :19]
    logits = (logits * torch.linspace(0.5, 1.5, 19)[:, None, None]).double()  # scaled in float32
    discriminator = build_discriminator(19).double()
    fill_discriminator(discriminator, recorded['in/disc.names'].tolist())
    np.testing.assert_allclose(discriminator(logits.softmax(dim=1)).detach(), recorded['f64/disc.out'], atol=1e-10)
