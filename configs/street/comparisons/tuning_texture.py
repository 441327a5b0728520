# The same on another pair: plain objects to patterned ones. The distillation has seen images of its source, without labels.
_base_ = ['./tuning.py', './texture.py']

rows = [
    _base_.rows[0],
    *(dict(row, options={
        **_base_.texture,
        **row['options'],
        **(_base_.texture_target if row['name'].endswith('DACS') else {})})
      for row in _base_.rows[1:]),
]
