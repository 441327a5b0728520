"""The helpers of other test folders; networks and datasets are built in mmseg's scope, as default_scope asks for."""
import sys
from pathlib import Path

from mmseg.utils import register_all_modules

for folder in ('test_engine', 'test_datasets'):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

register_all_modules()
