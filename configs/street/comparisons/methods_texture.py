# The methods on another pair: plain objects to patterned ones, 8 classes that are told by their shapes.
_base_ = ['./methods.py', './texture.py']

options = _base_.texture
rows = [
    dict(row, options={
        **row.get('options', {}),
        **(_base_.texture_target if row.get('begin_with') else {}),
        **(_base_.texture_things if row.get('begin_with') and row['name'] not in ('DACS', 'CICLD') else {}),
        **(_base_.texture_upper_bound if row['name'] == 'labelled target images' else {})})
    for row in _base_.rows
]
