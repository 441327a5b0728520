"""Compares every number of a parity fixture with ours: losses, labels, gradients and weights of whole training steps.

A check gets the kind of a number, its name, our value, the recorded one, and how far they may be apart.
"""
import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from mmengine.config import Config
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from numpy.testing import assert_allclose
from parity_case import OBJECTIVES, Case, published
from parity_fixtures import PARITY, ROOT
from parity_rules import checksum, fill_model, image, ours_to_reference, stats
from parity_tolerances import tolerances
from torch import Tensor

from mmseg_cicld.models.crop_box import CropBox

Check = Callable[..., None]
CASES = ['B1_daformer', 'B2_daformer_t150', 'B3_daformer_aug', 'D1_hrda_mic', 'D2_daformer_mic_separate',
         'D3_hrda_mic_ownteacher', 'E_deeplabv2']
FORWARDS = dict(b0_0='daformer_sepaspp_mit-b0', b0_1='daformer_sepaspp_mit-b0', b5_0='daformer_sepaspp_mit-b5',
                r101_0='deeplabv2red_r101-d8')
FORWARD_PRECISIONS = dict(f64=(torch.float64, 1e-10), f32=(torch.float32, 2e-5))
RENAMED = {'src.loss_imnet_feat_dist': 'loss_feature_distance'}


def assert_close(kind: str, name: str, ours: Tensor | np.ndarray, theirs: np.ndarray, rtol: float = 0.0,
                 atol: float = 0.0) -> None:
    """The check of the tests."""
    assert_allclose(as_array(ours), theirs, rtol=rtol, atol=atol, err_msg=f'{kind}: {name}')


def as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """Brings a tensor of any device and precision to the host."""
    return values.detach().double().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def forward_deviations(tag: str, precision: str, device: str = 'cpu', check: Check = assert_close,
                       autocast: bool = False) -> int:
    """Compares features and logits of a whole segmentor; returns how many were compared."""
    dtype, tolerance = FORWARD_PRECISIONS[precision]
    with np.load(PARITY / 'A_forward.npz') as file:
        recorded = dict(file)
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / f'{FORWARDS[tag]}.py').model
    config.backbone.init_cfg = None
    segmentor = MODELS.build(config)
    fill_model(segmentor)
    segmentor.to(device, dtype).eval()
    pixels = image(f'visible/A/{tag}', tuple(recorded[f'in/{tag}.shape']))
    assert_allclose(checksum(pixels), recorded[f'in/{tag}.img_checksum'], rtol=1e-12)
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=autocast):
        features = segmentor.extract_feat(torch.from_numpy(pixels).to(device, dtype))
        logits = segmentor.decode_head(features)
        enlarged = resize(logits, size=pixels.shape[2:], mode='bilinear', align_corners=False)
    expected = {name.split('.', 1)[1]: value for name, value in recorded.items()
                if name.startswith(f'{precision}/{tag}.')}
    got = {f'feat{level}_slice': feature[:, ::7, ::2, ::2] for level, feature in enumerate(features)}
    got |= {f'feat{level}': feature for level, feature in enumerate(features)}
    got |= {f'feat{level}_checksum': checksum(feature) for level, feature in enumerate(features)}
    got |= dict(logits=logits, logits_up_slice=enlarged[:, :, 1::9, 2::9], logits_up_checksum=checksum(enlarged))
    for name, value in expected.items():
        check('logits' if 'logits' in name else 'features', f'{tag} {name}', got[name], value, atol=tolerance)
    return len(expected)


class Comparison:
    """Compares every number of one fixture of training steps with ours.

    Args:
        name: The fixture.
        precision: ``'f64'`` or ``'f32'``.
        device: Where the steps run.
        check: What is done with each pair of numbers.
        autocast: Whether the forward passes run in bfloat16; ``precision`` is that of the recorded numbers.
    """

    def __init__(self, name: str, precision: str, device: str = 'cpu', check: Check = assert_close,
                 autocast: bool = False) -> None:
        self.case, self.check = Case(name, precision, device, autocast), check
        self.fixture, self.precision = self.case.fixture, precision
        self.tolerances = tolerances(precision, self.case.resnet, self.fixture.given('jitter_order') is not None)
        # Steps of B1 are smaller than float32 can hold.
        self.moves = precision == 'f64' or self.case.config.get('t0', 0) > 0

    def steps(self) -> Iterator[int]:
        """Compares after each iteration, and gives its number."""
        self.optimiser()
        for iteration, log in self.case.steps():
            self.log(iteration, log)
            self.pseudo_labels(iteration)
            self.check('masks', 'mix_mask', self.case.context.mix_mask(), self.fixture.given('mix_mask')[iteration] == 1)
            for objective in self.case.trained:
                if objective != 'source':
                    self.training_batch(objective, iteration)
            self.gradients(iteration)
            for name, network in self.case.networks().items():
                self.weights(name, published(network), iteration + 1)
            yield iteration

    def optimiser(self) -> None:
        settings = self.case.optimiser_settings()
        for name, *expected in zip(*(self.fixture.given(key).tolist()
                                     for key in ('param_names', 'opt_lr_mult', 'opt_weight_decay'))):
            self.check('optimiser', name, settings[name], expected, rtol=1e-12)

    def log(self, iteration: int, log: dict) -> None:
        for key in self.fixture.results('log.'):
            objective, entry = key[4:].split('.', 1) if key.split('.')[1] in OBJECTIVES else ('source', key[4:])
            ours = float(log[f'{objective}.{RENAMED.get(entry, entry.replace("loss_seg", "loss_ce"))}'])
            if entry.endswith('acc_seg'):
                ours *= self.share_of_labelled(objective, iteration, detail='.hr.' in entry)
                self.close('accuracies', key, iteration, ours, self.tolerances.accuracy)
            else:
                pair = self.tolerances.loss if objective == 'source' else self.tolerances.weighted_loss
                self.check('losses', key, ours, self.fixture[key][iteration], rtol=pair[min(iteration, 1)])

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
        self.close('pseudo-label weights', 'pseudo_q', iteration, pseudo.confident_share, self.share)
        self.close('pseudo-label weights', 'pseudo_weight_slice', iteration, pseudo.weights_BHW[:, ::4, ::4], self.share)
        if 'micpseudo_q' in self.fixture:
            self.teacher_logits('micpseudo', iteration, objectives[2].teacher)
            _, labels_BHW, weights_BHW = self.case.trained['masked']
            self.labels('micpseudo_label', iteration, labels_BHW)
            self.close('pseudo-label weights', 'micpseudo_weight_slice', iteration, weights_BHW[:, ::4, ::4], self.share)

    def teacher_logits(self, key: str, iteration: int, teacher) -> None:
        # Predicting in training mode changes buffers, so a copy does it.
        with self.case.precision():
            logits = copy.deepcopy(teacher).logits(self.case.context.target.images_BCHW)
        tolerance = self.tolerances.logits[min(iteration, 1)]
        self.close('logits', f'{key}_logits_slice', iteration, logits[:, :, 3::24, 5::24], tolerance)
        self.close('logits', f'{key}_logits_checksum', iteration, checksum(logits), tolerance)

    def training_batch(self, key: str, iteration: int) -> None:
        images_BCHW, labels_BHW, weights_BHW = self.case.trained[key]
        self.labels(f'{key}_label', iteration, labels_BHW)
        self.close('images', f'{key}_img_slice', iteration, images_BCHW[:, :, ::16, ::16], self.tolerances.images)
        self.close('images', f'{key}_img_checksum', iteration, checksum(images_BCHW), self.tolerances.images)
        self.close('pseudo-label weights', f'{key}_weight_slice', iteration, weights_BHW[:, ::4, ::4], self.share)
        self.close('pseudo-label weights', f'{key}_weight_checksum', iteration, checksum(weights_BHW), self.share)
        if self.precision == 'f64' and f'{key}_img_full' in self.fixture:
            self.close('images', f'{key}_img_full', iteration, images_BCHW, self.tolerances.images)
        if key == 'masked':
            visible = (images_BCHW != 0).any(dim=1)
            self.check('masks', 'mic_mask', visible, self.fixture.given('mic_mask')[iteration] == 1)

    @property
    def share(self) -> float:
        tolerances, pixels = self.tolerances, self.fixture['pseudo_label'][0].size
        return tolerances.share_pixels / pixels if tolerances.share is None else tolerances.share

    def labels(self, key: str, iteration: int, ours) -> None:
        wrong, allowed = int((ours.cpu().numpy() != self.fixture[key][iteration]).sum()), self.tolerances.labels
        self.check('wrong labels', key, wrong / ours.numel(), 0.0, atol=allowed if allowed < 1 else allowed / ours.numel())

    def close(self, kind: str, key: str, iteration: int, ours, tolerance: float) -> None:
        self.check(kind, key, ours, self.fixture[key][iteration], atol=tolerance)

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
        self.check('gradients', key, ours, theirs, atol=self.tolerances.gradient * theirs.max())

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
        self.check('weights', label, ours, theirs, atol=tolerance)

    def norm_and_change(self, label: str, ours, theirs) -> None:
        self.check('norms of weights', label, ours[0], theirs[0], rtol=self.tolerances.norms)
        if self.moves:
            self.check('changes of weights', label, ours[1], theirs[1], rtol=self.tolerances.change, atol=1e-12)

    def vanishing(self, name: str) -> bool:
        # Gradients that are zero but for rounding: AdamW makes full steps of the noise, which float32 has more of.
        return self.precision == 'f32' and (name.endswith('attn.kv.bias') or (
            'scale_attention.embed_layers' in name and name.endswith('proj.bias')))
