"""Tuning of backbones: which of their parameters learn, and what learns beside them."""
from .frozen import FrozenTuning, LastBlocksTuning
from .learnable_tokens import LearnableTokens
from .lora import LoRATuning

__all__ = ['FrozenTuning', 'LastBlocksTuning', 'LearnableTokens', 'LoRATuning']
