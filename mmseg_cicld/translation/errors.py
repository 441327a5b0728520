"""The error of image translation that explains itself."""


class TranslationError(ValueError):
    """A translation cannot start or go on; the message says what was given, what is allowed, and what to change."""
