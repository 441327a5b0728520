# The same on another pair: plain objects to patterned ones.
_base_ = ['./diffusion.py', './texture.py']

options = _base_.texture
rows = [
    dict(row, options={**row['options'], **(_base_.texture_target if {'begin_with', 'evaluates'} & set(row) else {})})
    for row in _base_.rows
]
