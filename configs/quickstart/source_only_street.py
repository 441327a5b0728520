# Source-only: labelled source images alone. Sampling and augmentation of the source images are those of the
# adaptation, so that the difference between the two comes from the target images.
_base_ = ['../street/source_only_street.py']
