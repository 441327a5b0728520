"""The tool that makes a diffusers folder of a checkpoint."""
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny_diffusion import UNET

from mmseg_cicld.engine import write_checkpoint
from mmseg_cicld.translation import ImageDiffusion

TOOL = Path(__file__).parents[2] / 'tools/model_converters/export_diffusion.py'
MODEL = dict(type='TargetDiffusion', image_size=(8, 16), unet=UNET, scheduler=dict(type='DDIMScheduler'))


@pytest.fixture
def export(monkeypatch):
    spec = importlib.util.spec_from_file_location('export_diffusion', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        module.main()

    return run


def test_averaged_weights_of_a_checkpoint_become_a_folder(export, tmp_path):
    model = MODELS.build(MODEL)
    with torch.no_grad():
        model.diffusion.unet.conv_in.weight.fill_(0.5)
    write_checkpoint(dict(state_dict=model.state_dict()), tmp_path / 'iter_5.pth')
    Config(dict(model=MODEL)).dump(tmp_path / 'config.py')
    export(tmp_path / 'config.py', tmp_path / 'iter_5.pth', tmp_path / 'out/diffusion')
    saved = ImageDiffusion.from_folder(tmp_path / 'out/diffusion')
    assert torch.equal(saved.unet.conv_in.weight, model.diffusion.unet.conv_in.weight)
    assert saved.scheduler_config['_class_name'] == 'DDIMScheduler'


def test_refuses_other_configs_and_checkpoints(export, tmp_path):
    write_checkpoint(dict(state_dict=dict(weight=torch.zeros(1))), tmp_path / 'other.pth')
    Config(dict(model=MODEL)).dump(tmp_path / 'config.py')
    with pytest.raises(SystemExit, match='other.pth: is not one of this config'):
        export(tmp_path / 'config.py', tmp_path / 'other.pth', tmp_path / 'out')
    head = dict(type='FCNHead', in_channels=4, channels=4, num_classes=2)
    Config(dict(model=dict(type='EncoderDecoder', backbone=dict(type='ResNet', depth=18, base_channels=4),
                           decode_head=head))).dump(tmp_path / 'segmentor.py')
    with pytest.raises(SystemExit, match='the config has a EncoderDecoder: give that of a TargetDiffusion'):
        export(tmp_path / 'segmentor.py', tmp_path / 'other.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
