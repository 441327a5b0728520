"""What mmengine has for sharded training loads when it is used, and is then mmengine's own."""
from shell_commands import python

DEFERRED = '''
import sys
import mmseg_cicld
heavy = ("torch.distributed.fsdp.fully_sharded_data_parallel", "torch.distributed.optim", "torch._dynamo", "sympy")
print([name for name in heavy if name in sys.modules])
from mmengine.model import is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS, STRATEGIES
import torch
assert not is_model_wrapper(torch.nn.Linear(2, 2))
try:
    class Derived(MODEL_WRAPPERS.get("MMFullyShardedDataParallel")):
        pass
except TypeError as error:
    assert "import mmengine.runner before mmseg_cicld" in str(error), error
else:
    raise AssertionError("a class derived from a stand-in would never be built")
try:
    OPTIMIZERS.build(dict(type="ZeroRedundancyOptimizer", params=[torch.zeros(1)], optimizer_type="SGD", lr=1.))
except (RuntimeError, ValueError) as error:
    assert "process group" in str(error), error
from torch.distributed.optim import ZeroRedundancyOptimizer
assert issubclass(OPTIMIZERS.get("ZeroRedundancyOptimizer"), ZeroRedundancyOptimizer)
try:
    MODEL_WRAPPERS.build(dict(type="MMFullyShardedDataParallel", module=torch.nn.Linear(2, 2)))
except Exception as error:
    print(type(error).__name__)
from torch.distributed.fsdp import FullyShardedDataParallel
assert issubclass(MODEL_WRAPPERS.get("MMFullyShardedDataParallel"), FullyShardedDataParallel)
assert STRATEGIES.get("FSDPStrategy").__module__ == "mmengine._strategy.fsdp"
STRATEGIES.build(dict(type="FSDPStrategy"))
assert hasattr(STRATEGIES.get("FSDPStrategy"), "_wrap_model")
'''
KEPT = '''
from mmengine.model import MMFullyShardedDataParallel as before
import mmseg_cicld
from mmengine.registry import MODEL_WRAPPERS
print(MODEL_WRAPPERS.get("MMFullyShardedDataParallel") is before)
'''


def test_sharded_training_loads_when_it_is_built(tmp_path):
    assert python('-c', DEFERRED, cwd=tmp_path).stdout.splitlines()[0] == '[]'


def test_a_program_that_imported_mmengine_before_keeps_its_classes(tmp_path):
    assert python('-c', KEPT, cwd=tmp_path).stdout == 'True\n'
