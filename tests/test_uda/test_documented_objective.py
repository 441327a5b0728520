"""The method that docs/add_a_method.md writes does train."""
import re
from pathlib import Path

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

PAGE = Path(__file__).parents[2] / 'docs' / 'add_a_method.md'


def test_the_objective_of_the_page_trains(segmentor, batch):
    source = re.search(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL).group(1)
    exec(compile(source, str(PAGE), 'exec'), {'__name__': 'documented_objective'})
    model = MODELS.build(dict(
        type='ClassMixEMA', segmentor=segmentor(), teacher=dict(momentum=0.999),
        objectives=[dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.968),
                    dict(type='FlipConsistency', threshold=0.0)])).train()
    log = model.train_step(batch(), OptimWrapper(torch.optim.SGD(model.student.parameters(), lr=0.1)))
    assert float(log['flip.decode.loss_ce']) > 0
