"""Prediction on a GPU: a denoising step, images a second of exported segmentors and of translation."""
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.apis import init_model
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_cicld.engine.exporting import exported_segmentor, write_segmentor
from mmseg_cicld.models import LatentDiffusionHead

from .methods import method_config
from .processes import ROOT
from .records import Setting
from .steps import free_memory, median_seconds, set_tf32

STEPS = 10


@torch.no_grad()
def denoising_step(setting: Setting, folder: Path) -> dict[str, float]:
    """Times predictions of CICLD with 0, 1 and 11 steps in bfloat16, on an image of 512 x 1024."""
    size = (64, 128) if setting.small else (512, 1024)
    segmentor = built(method_config('cicld', setting.small).model.segmentor, setting)
    head = next(part for part in segmentor.modules() if isinstance(part, LatentDiffusionHead))
    images = torch.rand(1, 3, *size, device=setting.device)
    seconds = {}
    for steps in (0, 1, 1 + STEPS):
        head.inference = replace(head.inference, steps=steps)
        with torch.autocast(setting.device, torch.bfloat16):
            seconds[steps] = repeated(setting, partial(segmentor.encode_decode, images, [dict(img_shape=size)]))
    return dict(seconds_bypassed=seconds[0], seconds_one_step=seconds[1], ratio_of_one_step=seconds[1] / seconds[0],
                seconds_a_step=(seconds[1 + STEPS] - seconds[1]) / STEPS)


def exported_segmentors(setting: Setting, folder: Path) -> dict[str, float | str]:
    """Counts images of 512 x 1024 a second of exported segmentors, from bytes to labels, by batch and precision."""
    size, figures = (64, 128) if setting.small else (512, 1024), {}
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    for method in ('daformer', 'hrda'):
        model = exported(method_config(method, setting.small), folder / method, setting)
        for batch, precision in itertools.product((1, 8), ('float32', 'bfloat16')):
            data = dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8)] * batch, data_samples=[sample] * batch)
            set_tf32(precision)
            with torch.autocast(setting.device, torch.bfloat16, enabled=precision == 'bfloat16'), going_on(setting):
                seconds = repeated(setting, partial(model.test_step, data))
                figures[f'{method}.{precision}.batch_{batch}.images_a_second'] = batch / seconds
    return figures


def translation(setting: Setting, folder: Path) -> dict[str, float]:
    """Times the translation of GTA5 to Cityscapes (SGG) as configured: tiles, guidance, bfloat16; few of its steps."""
    from mmseg_cicld.translation.image_translation import ImageTranslation, NamedImage
    from mmseg_cicld.translation.tiling import TileSettings
    config = Config.fromfile(ROOT / 'configs/sgg/translation_gta2cityscapes.py')
    size, tile = ((64, 96), TileSettings((64, 64), 8)) if setting.small else (
        tuple(config.working_size), TileSettings(**config.tile))
    label = torch.randint(0, 19, size, dtype=torch.uint8).numpy()
    image = NamedImage('synthetic', torch.randint(0, 256, (*size, 3), dtype=torch.uint8).numpy(), label)
    seconds = {}
    for steps in (2, 6):
        translator = guided_translator(setting, config, steps)
        translate = ImageTranslation(translator, seed=0, multiple=translator.diffusion.size_multiple, tile=tile,
                                     batch_size=config.batch_size, device=setting.device)
        seconds[steps] = median_seconds(setting, partial(translate, [image]), 1)
    a_step = (seconds[6] - seconds[2]) / 4
    whole = seconds[2] + (config.translation.steps - 2) * a_step
    return dict(seconds_a_step=a_step, steps=config.translation.steps, images_a_second=1 / whole)


def guided_translator(setting: Setting, config: Config, steps: int) -> nn.Module:
    """Builds the translator of a config with random networks: the published autoencoder, UNet and guide, or tiny ones."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DModel

    from mmseg_cicld.translation import ImageDiffusion, SegmentationGuide, TranslationSettings, Translator
    model = Config.fromfile(ROOT / 'configs/sgg/target-diffusion_latent_1xb8-200k_cityscapes-512x1024.py').model
    autoencoder = dict(Config.fromfile(ROOT / 'configs/_base_/models/parts/autoencoder_f8.py').autoencoder)
    unet, scheduler = dict(model.unet), {key: value for key, value in model.scheduler.items() if key != 'type'}
    if setting.small:
        autoencoder.update(block_out_channels=(8, ) * 4, layers_per_block=1, norm_num_groups=4)
        unet.update(block_out_channels=(8, ) * 4, layers_per_block=1, norm_num_groups=4, attention_head_dim=4)
    channels = autoencoder['latent_channels']
    diffusion = ImageDiffusion(UNet2DModel(in_channels=channels, out_channels=channels, **unet),
                               dict(DDIMScheduler(**scheduler).config, _class_name=DDIMScheduler.__name__),
                               AutoencoderKL(**autoencoder))
    guide = SegmentationGuide(built(method_config('daformer', setting.small).model.segmentor, setting))
    settings = TranslationSettings(**dict(config.translation, steps=steps))
    return Translator(diffusion, guide, settings, dict(config.guidance), config.dtype).to(setting.device)


def exported(config: Config, folder: Path, setting: Setting) -> nn.Module:
    """Exports the segmentor of a training with random weights, and loads it as users of mmseg do."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        state = MODELS.build(config.model).state_dict()
        plain, network = exported_segmentor(config, dict(state_dict=state), 'random weights')
        write_segmentor(folder, plain, network.state_dict(), dict(classes=[str(number) for number in range(19)]))
        return init_model(str(folder / 'segmentor.py'), str(folder / 'segmentor.pth'), device=setting.device)


def built(segmentor: dict, setting: Setting) -> nn.Module:
    """Builds a segmentor in evaluation mode."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        torch.manual_seed(0)
        return MODELS.build(segmentor).to(setting.device).train(False)


def repeated(setting: Setting, call: Callable[[], object]) -> float:
    """Returns the median time of a call, after some that warm up."""
    for _ in range(0 if setting.small else 3):
        call()
    return median_seconds(setting, call, 1 if setting.small else 15)


@contextmanager
def going_on(setting: Setting) -> Iterator[None]:
    """Goes on with the next size if the memory of the card is too small for one."""
    try:
        yield
    except torch.OutOfMemoryError:
        print('the memory of the card is too small for a batch')
    free_memory(setting)
