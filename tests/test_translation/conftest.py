"""Networks and datasets are built in mmseg's registry scope, as a config's default_scope asks for."""
from mmseg.utils import register_all_modules

register_all_modules()
