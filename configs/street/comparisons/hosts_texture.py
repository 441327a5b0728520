# The same on another pair: plain objects to patterned ones.
_base_ = ['./hosts.py', './texture.py']

options = _base_.texture
things = _base_.texture_things['model.objectives.0.feature_distance.classes']
source_loss, self_training = _base_.daformer
here = [dict(source_loss, feature_distance=dict(source_loss['feature_distance'], classes=things)), self_training]
rows = [
    _base_.rows[0],
    *(dict(row, options={**_base_.texture_target, 'model.objectives': here + row['options']['model.objectives'][2:]})
      for row in _base_.rows[1:]),
]
