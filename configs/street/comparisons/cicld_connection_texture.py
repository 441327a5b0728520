# Connection and denoiser on another pair: plain objects to patterned ones.
_base_ = ['./cicld_connection.py', './texture.py']

options = {**_base_.fast, **_base_.texture}
rows = [
    dict(row, options={**row['options'], **(_base_.texture_target if row.get('begin_with') else {})})
    for row in _base_.rows
]
