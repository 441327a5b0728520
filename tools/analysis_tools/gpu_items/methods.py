"""Configs of the methods that are measured, without pre-trained weights, at their published sizes or tiny."""
from mmengine.config import Config, ConfigDict

from .processes import ROOT

CONFIGS = {
    'daformer': 'daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512',
    'hrda': 'hrda/hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024',
    'mic': 'mic/mic-hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024',
    'dida': 'dida/dida-daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512',
    'cicld': 'cicld/cicld-daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512',
    'dinov2-l': 'vfm_uda/vfm-uda_dinov2-large_4xb2-40k_gta2cityscapes-1024x1024',
    'dinov2-l-lora': 'vfm_uda/vfm-uda_dinov2-large-lora_4xb2-40k_gta2cityscapes-1024x1024',
}
_SIZE = {'data_preprocessor.size': (64, 64)}
_MIT = _SIZE | {'backbone': dict(_delete_=True, type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, ) * 4)}
_DAFORMER = _MIT | {'decode_head.in_channels': [8, 16, 40, 64], 'decode_head.channels': 16,
                    'decode_head.decoder_params.embed_dims': 16}
_HRDA = _DAFORMER | {'hr_crop_size': (32, 32), 'decode_head.attention_embed_dim': 16}
_CICLD = _MIT | {
    'neck.in_channels': [8, 16, 40, 64], 'neck.latent_channels': 8, 'neck.skip_channels': [8, 8],
    'decode_head.in_channels': [8, 8, 8], 'decode_head.decoder_channels': [16, 8], 'decode_head.inference.steps': 2,
    'decode_head.denoiser': dict(
        _delete_=True, type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=('DownBlock2D', ) * 2, up_block_types=('UpBlock2D', ) * 2)}
_VIT = {'model.hidden_size': 32, 'model.num_hidden_layers': 4, 'model.num_attention_heads': 2}
_TINY = {
    'daformer': _DAFORMER, 'hrda': _HRDA, 'mic': _HRDA, 'dida': _DAFORMER, 'cicld': _CICLD,
    'dinov2-l': _SIZE | {f'backbone.vit.{key}': value for key, value in _VIT.items()} | {
        'backbone.vit.scale': 70 / 64, 'backbone.inplanes': 8, 'backbone.head_channels': 8,
        'decode_head.in_channels': [32] * 4},
    'dinov2-l-lora': _SIZE | {f'backbone.backbone.{key}': value for key, value in _VIT.items()} | {
        'backbone.tuning.rank': 4, 'neck.in_channels': 32, 'neck.out_channels': 16,
        'decode_head.in_channels': [16] * 4, 'decode_head.channels': 16, 'decode_head.decoder_params.embed_dims': 16},
}


def method_config(method: str, small: bool) -> Config:
    """Reads the config of a method.

    Args:
        method: A key of :data:`CONFIGS`.
        small: Whether networks have few channels and blocks, and images 64 x 64 pixels.
    """
    config = Config.fromfile(ROOT / 'configs' / f'{CONFIGS[method]}.py')
    _leave_out_weights(config.model)
    if small:
        config.merge_from_dict({f'model.segmentor.{key}': value for key, value in _TINY[method].items()})
        for objective in config.model.objectives:
            objective.update({key: 0 for key in ('ignore_top', 'ignore_bottom') if key in objective})
            if objective.type == 'FoundationFeatureDistance':
                objective.update(out_channels=32, size=(28, 28))
                objective.network.out_indices = (3, )
                objective.network.model.update(hidden_size=32, num_hidden_layers=4, num_attention_heads=2)
    return config


def _leave_out_weights(part: ConfigDict | list) -> None:
    """Lets networks begin at random: nothing is fetched, and neither time nor memory depend on weights."""
    for inner in part if isinstance(part, list) else part.values():
        if isinstance(inner, (ConfigDict, list)):
            _leave_out_weights(inner)
    if isinstance(part, ConfigDict):
        part.update({key: None for key in ('init_cfg', 'pretrained') if key in part})
        if 'model' in part and 'weights' in part:
            part.weights = None
