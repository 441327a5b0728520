# DiDA's ablation on the pair whose looks differ in texture, which is what degrading images takes away.
_base_ = ['./dida_variants.py', './texture.py']

options = _base_.texture
rows = [
    dict(row, options={**row.get('options', {}), **(_base_.texture_target if row.get('begin_with') else {})})
    for row in _base_.rows
]
