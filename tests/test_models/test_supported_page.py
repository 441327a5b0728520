"""docs/supported.md has a row for every head and loss that mmseg registers, on the side where it is."""
import re
from pathlib import Path

import pytest
from head_cases import CASES
from mmseg.models.losses import __all__ as MMSEG_LOSSES
from mmseg.registry import MODELS

PAGE = (Path(__file__).parents[2] / 'docs/supported.md').read_text(encoding='utf-8').split('## Training loops')[0]
ROWS = [re.findall(r'`(\w+)`', line.split('|')[1]) for line in PAGE.splitlines() if line.startswith('| `')]
REFUSED = {name for line in PAGE.splitlines() if line.startswith('| `') and line.split('|')[2].startswith(' refused')
           for name in re.findall(r'`(\w+)`', line.split('|')[1])}


def test_each_registered_head_and_loss_has_one_row():
    heads = {name for name in MODELS.module_dict if name.endswith('Head') and name != 'KernelUpdateHead'}
    losses = {name for name in MMSEG_LOSSES if name in MODELS.module_dict}
    assert len(losses) == 9
    listed = [name for row in ROWS for name in row]
    assert sorted(listed) == sorted(heads | losses)


@pytest.mark.parametrize('name', sorted(CASES))
def test_heads_that_are_tested_run(name):
    assert name not in REFUSED


def test_only_these_are_refused():
    assert {'HuasdorffDisstanceLoss', 'Mask2FormerHead', 'MaskFormerHead', 'SiLogLoss',
                       'SideAdapterCLIPHead', 'VPDDepthHead'} == REFUSED
