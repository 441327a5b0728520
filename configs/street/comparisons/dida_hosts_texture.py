# DiDA on each method on the pair whose looks differ in texture, which is what degrading images takes away.
_base_ = ['./dida_hosts.py', './texture.py']

options = _base_.texture
rows = [
    dict(row, options={
        **row.get('options', {}),
        **(_base_.texture_target if row.get('begin_with') else {}),
        **(_base_.texture_things if row.get('begin_with') and not row['name'].startswith('DACS') else {})})
    for row in _base_.rows
]
