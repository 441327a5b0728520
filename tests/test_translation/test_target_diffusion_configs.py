"""The configs of target diffusion models: every one trains an iteration with its network made small."""
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_datasets import random_image, write_image
from tiny_diffusion import AUTOENCODER

CONFIGS = Path(__file__).parents[2] / 'configs'
PATHS = [*sorted((CONFIGS / 'sgg').glob('target-diffusion_*.py')), CONFIGS / 'street/target-diffusion_street.py']
SIZES = dict(cityscapes=(1024, 2048), acdc=(1080, 1920), street=(128, 256))  # of the image files


def shrink(model: dict) -> None:
    """Makes the UNet small; its blocks and the sizes of the images stay as they are."""
    model.unet.update(block_out_channels=[4 for _ in model.unet.block_out_channels], norm_num_groups=2,
                      layers_per_block=1, attention_head_dim=4)
    if 'autoencoder' in model:
        levels = 4  # stride 8, as that of the config
        model.autoencoder = dict(AUTOENCODER, block_out_channels=(4, ) * levels, norm_num_groups=2,
                                 down_block_types=('DownEncoderBlock2D', ) * levels,
                                 up_block_types=('UpDecoderBlock2D', ) * levels, layers_per_block=1)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_trains_one_iteration_on_images_of_its_dataset(path, tmp_path):
    config = Config.fromfile(path)
    init_default_scope(config.default_scope)
    shrink(config.model)
    model = MODELS.build(config.model).train()
    size = next(size for name, size in SIZES.items() if name in path.stem)
    write_image(tmp_path / 'image.png', random_image(0, *size))
    target = config.train_dataloader.dataset.target
    info = dict(img_path=str(tmp_path / 'image.png'), seg_fields=[])
    batch = pseudo_collate([dict(target=Compose(target.pipeline)(dict(info)))])
    step = build_optim_wrapper(model, config.optim_wrapper)
    before = model.unet.conv_in.weight.clone()
    assert math.isfinite(model.train_step(batch, step)['loss'])
    assert not torch.equal(before, model.unet.conv_in.weight)
    assert target.data_root.split('/')[1] in path.stem and 'seg_map_path' not in target.data_prefix


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_resumes_exactly_and_leaves_a_folder(path):
    config = Config.fromfile(path)
    assert config.runner_type == 'AdaptationRunner' and config.custom_imports.imports == ['mmseg_cicld']
    assert config.train_cfg.type == 'ExactResumeTrainLoop'
    assert config.train_dataloader.sampler.type == 'KeyedInfiniteSampler'
    assert [hook.type for hook in config.custom_hooks] == ['SampleGridHook', 'SaveFolderHook']
