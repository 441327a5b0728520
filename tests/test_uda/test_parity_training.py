"""Whole training steps against numbers recorded from the published DAFormer/MIC implementation.

The fixtures hold what that implementation computed from weights, images and random choices that a rule fills in, so
every loss, label, gradient norm and updated weight can be compared. float64 is the sharp comparison and takes five
times as long: but for one fixture it runs with ``-m float64`` alone, see CONTRIBUTING.md.
"""
import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from parity_case import OBJECTIVES, Case, published
from parity_rules import checksum, ours_to_reference, stats
from parity_tolerances import tolerances

from mmseg_cicld.models.crop_box import CropBox

CASES = ['B1_daformer', 'B2_daformer_t150', 'B3_daformer_aug', 'D1_hrda_mic', 'D2_daformer_mic_separate',
         'D3_hrda_mic_ownteacher', 'E_deeplabv2']
RUNS = [pytest.param(name, precision, id=f'{name}-{precision}',
                     marks=[pytest.mark.float64] if precision == 'f64' and name != 'B3_daformer_aug' else [])
        for name in CASES for precision in ('f64', 'f32')]
RENAMED = {'src.loss_imnet_feat_dist': 'loss_feature_distance'}


class Comparison:
    """Compares every number of one fixture with ours."""

    def __init__(self, name: str, precision: str) -> None:
        self.case = Case(name, precision)
        self.fixture, self.precision = self.case.fixture, precision
        self.tolerances = tolerances(precision, self.case.resnet, self.fixture.given('jitter_order') is not None)
        # Steps of B1 are smaller than float32 can hold.
        self.moves = precision == 'f64' or self.case.config.get('t0', 0) > 0

    def run(self) -> None:
        self.optimiser()
        for iteration, log in self.case.steps():
            self.log(iteration, log)
            self.pseudo_labels(iteration)
            assert_array_equal(self.case.context.mix_mask(), self.fixture.given('mix_mask')[iteration] == 1)
            for objective in self.case.trained:
                if objective != 'source':
                    self.training_batch(objective, iteration)
            self.gradients(iteration)
            for name, network in self.case.networks().items():
                self.weights(name, published(network), iteration + 1)

    def optimiser(self) -> None:
        settings = self.case.optimiser_settings()
        for name, *expected in zip(*(self.fixture.given(key).tolist()
                                     for key in ('param_names', 'opt_lr_mult', 'opt_weight_decay'))):
            assert_allclose(settings[name], expected, rtol=1e-12, err_msg=name)

    def log(self, iteration: int, log: dict) -> None:
        for key in self.fixture.results('log.'):
            objective, entry = key[4:].split('.', 1) if key.split('.')[1] in OBJECTIVES else ('source', key[4:])
            ours = float(log[f'{objective}.{RENAMED.get(entry, entry.replace("loss_seg", "loss_ce"))}'])
            if entry.endswith('acc_seg'):
                ours *= self.share_of_labelled(objective, iteration, detail='.hr.' in entry)
                self.close(key, iteration, ours, self.tolerances.accuracy)
            else:
                pair = self.tolerances.loss if objective == 'source' else self.tolerances.weighted_loss
                assert_allclose(ours, self.fixture[key][iteration], rtol=pair[min(iteration, 1)], err_msg=key)

    def share_of_labelled(self, objective: str, iteration: int, detail: bool) -> float:
        # The published accuracy counts ignored pixels as wrong, that of mmseg 1.x leaves them out.
        labels = self.case.trained[objective][1]
        if detail:
            box = self.fixture.given('hr_boxes')[iteration, OBJECTIVES.index(objective)]
            labels = CropBox(*box).crop(labels)
        return float((labels != 255).double().mean())

    def pseudo_labels(self, iteration: int) -> None:
        context, objectives = self.case.context, self.case.model.objectives
        self.teacher_logits('pseudo', iteration, self.case.model.teacher)
        pseudo = context.pseudo_labels(objectives[1].rule)
        self.labels('pseudo_label', iteration, pseudo.labels_BHW)
        self.close('pseudo_q', iteration, pseudo.confident_share, self.share)
        self.close('pseudo_weight_slice', iteration, pseudo.weights_BHW[:, ::4, ::4], self.share)
        if 'micpseudo_q' in self.fixture:
            self.teacher_logits('micpseudo', iteration, objectives[2].teacher)
            _, labels_BHW, weights_BHW = self.case.trained['masked']
            self.labels('micpseudo_label', iteration, labels_BHW)
            self.close('micpseudo_weight_slice', iteration, weights_BHW[:, ::4, ::4], self.share)

    def teacher_logits(self, key: str, iteration: int, teacher) -> None:
        # Predicting in training mode changes buffers, so a copy does it.
        logits = copy.deepcopy(teacher).logits(self.case.context.target.images_BCHW)
        tolerance = self.tolerances.logits[min(iteration, 1)]
        self.close(f'{key}_logits_slice', iteration, logits[:, :, 3::24, 5::24], tolerance)
        self.close(f'{key}_logits_checksum', iteration, checksum(logits), tolerance)

    def training_batch(self, key: str, iteration: int) -> None:
        images_BCHW, labels_BHW, weights_BHW = self.case.trained[key]
        self.labels(f'{key}_label', iteration, labels_BHW)
        self.close(f'{key}_img_slice', iteration, images_BCHW[:, :, ::16, ::16], self.tolerances.images)
        self.close(f'{key}_img_checksum', iteration, checksum(images_BCHW), self.tolerances.images)
        self.close(f'{key}_weight_slice', iteration, weights_BHW[:, ::4, ::4], self.share)
        self.close(f'{key}_weight_checksum', iteration, checksum(weights_BHW), self.share)
        if self.precision == 'f64' and f'{key}_img_full' in self.fixture:
            self.close(f'{key}_img_full', iteration, images_BCHW, self.tolerances.images)
        if key == 'masked':
            visible = (images_BCHW != 0).any(dim=1)
            assert_array_equal(visible, self.fixture.given('mic_mask')[iteration] == 1)

    @property
    def share(self) -> float:
        tolerances, pixels = self.tolerances, self.fixture['pseudo_label'][0].size
        return tolerances.share_pixels / pixels if tolerances.share is None else tolerances.share

    def labels(self, key: str, iteration: int, ours) -> None:
        wrong, allowed = int((ours.numpy() != self.fixture[key][iteration]).sum()), self.tolerances.labels
        assert wrong <= (allowed * ours.numel() if allowed < 1 else allowed), f'{key}: {wrong} pixels'

    def close(self, key: str, iteration: int, ours, tolerance: float) -> None:
        assert_allclose(np.asarray(ours), self.fixture[key][iteration], rtol=0, atol=tolerance, err_msg=key)

    def gradients(self, iteration: int) -> None:
        wrapper, order = self.case.optim_wrapper, self.fixture.given('backward_order').tolist()
        # The source loss and the feature distance are one backward pass of ours.
        ends = [order.index('fd') if 'fd' in order else 0] + [row for row, k in enumerate(order) if k in OBJECTIVES]
        expected = self.fixture['grad_norm_after_backward'][iteration]
        self.norms('grad_norm_after_backward', wrapper.accumulated, expected[ends])
        alone = [row for row, end in enumerate(ends) if row or 'fd' not in order]
        self.norms('grad_norm_of_each_backward', np.array(wrapper.added)[alone],
                   self.fixture['grad_norm_of_each_backward'][iteration][np.array(ends)[alone]])
        if iteration == 0:
            ours = ours_to_reference(wrapper.gradients)
            names = self.fixture.given('param_names').tolist()
            self.norms('grad_l2_it0', [float(ours[name].norm()) for name in names], self.fixture['grad_l2_it0'])

    def norms(self, key: str, ours, theirs) -> None:
        assert_allclose(ours, theirs, rtol=0, atol=self.tolerances.gradient * theirs.max(), err_msg=key)

    # -- weights --------------------------------------------------------------------------------------------------

    def weights(self, network: str, tensors: dict, finished: int) -> None:
        if f'{network}_l2_after{finished}' not in self.fixture:
            return
        initial = self.case.initial[network]
        if f'{network}_sel_after{finished}' in self.fixture:
            for name, row in zip(self.fixture.given('selected').tolist(),
                                 self.fixture[f'{network}_sel_after{finished}']):
                if not self.vanishing(name):
                    ours, label = stats(tensors[name], initial[name]), f'{network} {name} after {finished}'
                    self.values(label, ours[:7], row[:7], name, finished)
                    self.norm_and_change(label, ours[7:], row[7:])
        for name, row in zip(self.fixture.given('param_names').tolist(), self.fixture[f'{network}_l2_after{finished}']):
            if not self.vanishing(name):
                ours, label = stats(tensors[name], initial[name]), f'{network} {name} after {finished}'
                self.norm_and_change(label, ours[7:], row)

    def values(self, label: str, ours, theirs, name: str, finished: int) -> None:
        tolerance = self.tolerances.values
        if tolerance is None:
            rate = float(self.fixture['lr_backbone_head'][finished - 1][int('decode_head' in name)])
            rounding = 2 * np.spacing(np.float32(max(1, np.nanmax(np.abs(theirs)))))
            tolerance = (rate / 10 if finished == 1 else rate) + rounding
        assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=label)

    def norm_and_change(self, label: str, ours, theirs) -> None:
        assert_allclose(ours[0], theirs[0], rtol=self.tolerances.norms, err_msg=label)
        if self.moves:
            assert_allclose(ours[1], theirs[1], rtol=self.tolerances.change, atol=1e-12, err_msg=label)

    def vanishing(self, name: str) -> bool:
        # Gradients that are zero but for rounding: AdamW makes full steps of the noise, which float32 has more of.
        return self.precision == 'f32' and (name.endswith('attn.kv.bias') or (
            'scale_attention.embed_layers' in name and name.endswith('proj.bias')))


@pytest.mark.parametrize(('name', 'precision'), RUNS)
def test_training_step(name, precision):
    Comparison(name, precision).run()
