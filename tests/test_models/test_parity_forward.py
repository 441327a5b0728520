"""Features and logits of whole segmentors equal those recorded from the published implementation."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from parity_rules import checksum, fill_model, image

ROOT = Path(__file__).parents[2]
CONFIGS = dict(b0_0='daformer_sepaspp_mit-b0', b0_1='daformer_sepaspp_mit-b0', b5_0='daformer_sepaspp_mit-b5',
               r101_0='deeplabv2red_r101-d8')
PRECISIONS = dict(f64=(torch.float64, 1e-10), f32=(torch.float32, 2e-5))


@pytest.fixture(scope='module')
def recorded():
    with np.load(ROOT / 'tests' / 'data' / 'parity' / 'A_forward.npz') as file:
        return dict(file)


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('tag', CONFIGS)
def test_features_and_logits(recorded, tag, precision):
    dtype, tolerance = PRECISIONS[precision]
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / f'{CONFIGS[tag]}.py').model
    config.backbone.init_cfg = None
    segmentor = MODELS.build(config)
    fill_model(segmentor)
    segmentor.to(dtype).eval()
    pixels = image(f'visible/A/{tag}', tuple(recorded[f'in/{tag}.shape']))
    np.testing.assert_allclose(checksum(pixels), recorded[f'in/{tag}.img_checksum'], rtol=1e-12)
    with torch.no_grad():
        features = segmentor.extract_feat(torch.from_numpy(pixels).to(dtype))
        logits = segmentor.decode_head(features)
        enlarged = resize(logits, size=pixels.shape[2:], mode='bilinear', align_corners=False)
    expected = {name.split('.', 1)[1]: value for name, value in recorded.items()
                if name.startswith(f'{precision}/{tag}.')}
    got = {f'feat{level}_slice': feature[:, ::7, ::2, ::2] for level, feature in enumerate(features)}
    got |= {f'feat{level}': feature for level, feature in enumerate(features)}
    got |= {f'feat{level}_checksum': checksum(feature) for level, feature in enumerate(features)}
    got |= dict(logits=logits, logits_up_slice=enlarged[:, :, 1::9, 2::9], logits_up_checksum=checksum(enlarged))
    assert len(expected) >= 11
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(got[name]), value, rtol=0, atol=tolerance, err_msg=name)
