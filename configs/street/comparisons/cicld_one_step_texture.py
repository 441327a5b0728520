# One step, and tests without the denoiser, on another pair: plain objects to patterned ones.
_base_ = ['./cicld_one_step.py', './texture.py']

options = {**_base_.fast, **_base_.texture}
rows = [
    dict(row, options={**row['options'], **(_base_.texture_target if row.get('begin_with') or row.get('evaluates') else {})})
    for row in _base_.rows
]
