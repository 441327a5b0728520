# CICLD, Table 1 and what it leaves out: inter-coder connection by condition, and the same network without diffusion.
_base_ = ['./short.py']

head = 'model.segmentor.decode_head'
stage1 = 'configs/street/cicld-stage1_street.py'
apart = {'model.segmentor.neck.connect': False, f'{head}.in_channels': [16]}
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
    dict(name='connected, image latent', config=stage1),
    dict(name='connected, unconditioned', config=stage1, options=unconditioned),
    dict(name='connected, mask', config=stage1, options=mask),
    dict(name='connected, no denoiser', config=stage1, options=no_denoiser),
    dict(name='apart, image latent', config=stage1, options=apart),
    dict(name='apart, unconditioned', config=stage1, options={**apart, **unconditioned}),
    dict(name='apart, no denoiser', config=stage1, options={**apart, **no_denoiser}),
]
