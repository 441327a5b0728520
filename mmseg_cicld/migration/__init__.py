"""Configs of the mmseg 0.x code bases DAFormer, HRDA and MIC, turned into configs of this package."""
from .accounting import written_report
from .migrate import Migration, migrate, migrated_config
from .reading import OldConfigError, is_old_config, read_old_config

__all__ = ['Migration', 'OldConfigError', 'is_old_config', 'migrate', 'migrated_config', 'read_old_config',
           'written_report']
