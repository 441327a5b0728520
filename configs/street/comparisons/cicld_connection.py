# CICLD, Table 1 and what it leaves out: inter-coder connection, and the same network without diffusion.
# Each network learns from source images before it adapts.
_base_ = ['./short.py']

options = _base_.fast
head = 'model.segmentor.decode_head'
stage1 = 'configs/street/cicld-stage1_street.py'
apart = {'model.segmentor.neck.connect': False, f'{head}.in_channels': [64]}
no_denoiser = {f'{head}.denoiser': None}
rows = [
    dict(name=f'{name}{phase}', config=stage1, options={**options, **form},
         begin_with=None if phase else f'{name}, source only')
    for name, form in {
        'connected, image latent': {},
        'connected, no denoiser': no_denoiser,
        'apart, image latent': apart,
        'apart, no denoiser': {**apart, **no_denoiser},
    }.items()
    for phase, options in ((', source only', _base_.source_only), ('', _base_.rare_classes))
]
