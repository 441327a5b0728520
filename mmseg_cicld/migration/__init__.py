"""Configs of the mmseg 0.x code bases DAFormer, HRDA and MIC, turned into configs of this package."""
from .migrate import Migration, droppable, migrate, migrated_config
from .old_code import code_folder, find_code
from .reading import OldConfig, OldConfigError, is_old_config, read_old_config

__all__ = ['Migration', 'OldConfig', 'OldConfigError', 'code_folder', 'droppable', 'find_code', 'is_old_config',
           'migrate', 'migrated_config', 'read_old_config']
