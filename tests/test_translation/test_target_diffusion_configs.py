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
PATHS = [*sorted((CONFIGS / 'sgg').glob('target-diffusion_*.py')),
         *sorted((CONFIGS / 'street').glob('target-*diffusion_*.py'))]
SIZES = dict(cityscapes=(1024, 2048), acdc=(1080, 1920), street=(128, 256), texture=(180, 320))  # of the image files


def shrink(model: dict) -> None:
    """Makes the UNet small; its blocks and the sizes of the images stay as they are."""
    model.unet.update(block_out_channels=[4 for _ in model.unet.block_out_channels], norm_num_groups=2,
                      layers_per_block=1, attention_head_dim=4)
    if 'autoencoder' in model:
        levels = 3 if 'street' in model.autoencoder else 4  # stride 4 or 8, as that of the config
        model.autoencoder = dict(AUTOENCODER, block_out_channels=(4, ) * levels, norm_num_groups=2,
                                 down_block_types=('DownEncoderBlock2D', ) * levels,
                                 up_block_types=('UpDecoderBlock2D', ) * levels, layers_per_block=1)


def one_batch(config: Config, folder: Path, size: tuple[int, int]) -> dict:
    """Sends a noise image of the dataset's size through the pipeline."""
    write_image(folder / 'image.png', random_image(0, *size))
    pipeline = Compose(config.train_dataloader.dataset.target.pipeline)
    return pseudo_collate([dict(target=pipeline(dict(img_path=str(folder / 'image.png'), seg_fields=[])))])


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_trains_one_iteration_on_images_of_its_dataset(path, tmp_path):
    config = Config.fromfile(path)
    init_default_scope(config.default_scope)
    shrink(config.model)
    model = MODELS.build(config.model).train()
    batch = one_batch(config, tmp_path, next(size for name, size in SIZES.items() if name in path.stem))
    step = build_optim_wrapper(model, config.optim_wrapper)
    before = model.unet.conv_in.weight.clone()
    assert math.isfinite(model.train_step(batch, step)['loss'])
    assert not torch.equal(before, model.unet.conv_in.weight)
    target = config.train_dataloader.dataset.target
    assert target.data_root.split('/')[1] in path.stem and 'seg_map_path' not in target.data_prefix


def test_the_autoencoder_trains_one_iteration(tmp_path):
    config = Config.fromfile(CONFIGS / 'street/target-autoencoder_street.py')
    init_default_scope(config.default_scope)
    config.model.autoencoder.update(block_out_channels=(4, 4, 4), norm_num_groups=2)
    model = MODELS.build(config.model).train()
    batch = one_batch(config, tmp_path, SIZES['street'])
    assert math.isfinite(model.train_step(batch, build_optim_wrapper(model, config.optim_wrapper))['loss'])
    folder = Config.fromfile(CONFIGS / 'street/target-latent-diffusion_street.py').model.autoencoder
    assert folder == f'work_dirs/target-autoencoder_street/{config.custom_hooks[0].folder}'


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_resumes_exactly_and_leaves_a_folder(path):
    config = Config.fromfile(path)
    assert config.runner_type == 'AdaptationRunner' and config.custom_imports.imports == ['mmseg_cicld']
    assert config.train_cfg.type == 'ExactResumeTrainLoop'
    assert config.train_dataloader.sampler.type == 'KeyedInfiniteSampler'
    assert [hook.type for hook in config.custom_hooks] == ['SampleGridHook', 'SaveFolderHook']
