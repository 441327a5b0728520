"""The scope ``mmseg_cicld``: what is asked of it is found in mmseg's registries, where this package registers.

mmengine marks everything that comes from a base ``'mmseg_cicld::...'`` with the name before ``::`` as its scope, and
imports this module to look there. A registry of a scope that holds nothing passes on to its parent.
"""
import mmseg.registry
from mmengine.registry import Registry

# mmengine imports these at the first look-up; a parent's own locations are not imported for its children.
LOCATIONS = ['mmseg_cicld', 'mmseg.datasets', 'mmseg.engine', 'mmseg.evaluation', 'mmseg.models', 'mmseg.visualization']

CHILDREN = [Registry(parent.name, parent=parent, scope='mmseg_cicld', locations=LOCATIONS)
            for parent in vars(mmseg.registry).values() if isinstance(parent, Registry)]
"""One for each registry of mmseg; mmengine finds them through their parents."""
