# CICLD, Table 1 and what it leaves out: inter-coder connection by condition, and the same network without diffusion.
# Each network learns from source images before it adapts.
_base_ = ['./short.py']

options = _base_.fast
head = 'model.segmentor.decode_head'
stage1 = 'configs/street/cicld-stage1_street.py'
apart = {'model.segmentor.neck.connect': False, f'{head}.in_channels': [64]}
unconditioned = {f'{head}.condition': 'none'}
no_denoiser = {f'{head}.denoiser': None}
# Masks are the paper's condition; in predictions the network's own first prediction takes the place of the label.
mask = {
    f'{head}.condition': 'mask_attention',
    f'{head}.denoiser.type': 'UNet2DConditionModel',
    f'{head}.denoiser.mid_block_type': 'UNetMidBlock2D',
    f'{head}.mask_encoder': dict(type='ClassEmbeddingMaskEncoder'),
    f'{head}.inference.condition': 'prediction',
}
rows = [
    dict(name=f'{name}{phase}', config=stage1, options={**options, **form},
         begin_with=None if phase else f'{name}, source only')
    for name, form in {
        'connected, image latent': {},
        'connected, unconditioned': unconditioned,
        'connected, mask': mask,
        'connected, no denoiser': no_denoiser,
        'apart, image latent': apart,
        'apart, no denoiser': {**apart, **no_denoiser},
    }.items()
    for phase, options in ((', source only', _base_.source_only), ('', _base_.rare_classes))
]
