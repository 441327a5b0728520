# The same on another pair: plain objects to patterned ones. The distillation has seen images of its source, without labels; its
# encoder alone goes on, since its head has the classes of the street set.
_base_ = ['./tuning.py', './texture.py']

distilled, tuned = _base_.distilled, _base_.backbone
encoder = {'student.backbone.': 'student.backbone.'}
encoder_to_tune = {'student.backbone.': 'student.backbone.backbone.'}
rows = [
    _base_.rows[0],
    *(dict(
        row,
        hand_over=None if row.get('begin_with') != distilled else encoder_to_tune if tuned in row['options'] else encoder,
        options={
            **_base_.texture,
            **row['options'],
            **(_base_.texture_target if row['name'].endswith('DACS') else {})
        }) for row in _base_.rows[1:]),
]
