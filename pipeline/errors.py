"""The errors of `pipeline`.

    PipelineError
    ├── SettingsError            the settings file, or what a variable of the environment says
    ├── PropertiesFileError      a CSV of properties that cannot be read at all
    ├── EmptyQueueError          a county that has no properties to work on
    ├── ClusterError             a Ray cluster that cannot be used, or does not have what it needs
    ├── ExportError              results that cannot be written as files
    └── StoreError               the database, or what was asked of it
        └── VersionConflict      somebody changed the detection after it was read

A message says what, where and how to mend it.
"""


class PipelineError(Exception):
    """The base of every error that `pipeline` raises on purpose."""


class SettingsError(PipelineError):
    """The settings file cannot be read, or a setting is none or has a value it cannot have."""


class PropertiesFileError(PipelineError):
    """A CSV of properties that cannot be read at all."""


class EmptyQueueError(PipelineError):
    """A county that has no properties to work on."""


class ClusterError(PipelineError):
    """A Ray cluster cannot be reached or used, or one of its machines lacks what it needs."""


class ExportError(PipelineError):
    """Results that cannot be written as files."""


class StoreError(PipelineError):
    """The database cannot be used, or what was asked of it is not possible."""


class VersionConflict(StoreError):
    """Somebody changed the detection after it was read: read it again, then decide."""
