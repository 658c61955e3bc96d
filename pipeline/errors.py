"""Errors of `pipeline`.

    PipelineError
    ├── SettingsError            the settings file or an environment variable is wrong
    ├── PropertiesFileError      a CSV of properties cannot be read
    ├── EmptyQueueError          a county has no properties in its queue
    ├── ConcurrentBatchError     a running batch measures the same properties otherwise
    ├── ClusterError             a Ray cluster cannot be reached, or lacks a requirement
    ├── ExportError              results cannot be written to files
    ├── CorrectionsFileError     a file of corrections cannot be read
    ├── ObjectStoreError         an object in a folder or a bucket cannot be read or written
    ├── ManifestError            a manifest of exported corrections is missing or damaged
    ├── ModelError               trained weights cannot be registered, found or promoted
    ├── LearningError            a round of learning cannot be run
    ├── ImageListError           an argument of `lotline detect` means no image
    ├── ImageResultError         results of an image cannot be written, or would replace others
    ├── JobError                 a job of the serverless worker fails
    └── StoreError               the database is unavailable, or refuses a request
        ├── CountyMismatch       the database has another county under this key
        ├── NotStored            there is no such property, detection or token
        ├── InvalidOutline       a drawn outline is not a polygon of a lot
        └── VersionConflict      the detection changed after it was read

A message names the problem, the place and the fix.
"""


class PipelineError(Exception):
    """Base of all errors that `pipeline` raises on purpose."""


class SettingsError(PipelineError):
    """The settings file cannot be read, or a setting is unknown or has a wrong value."""


class PropertiesFileError(PipelineError):
    """A CSV of properties cannot be read."""


class EmptyQueueError(PipelineError):
    """A county has no properties in its queue."""


class ConcurrentBatchError(PipelineError):
    """A batch that is running works on the same properties with other settings."""


class ClusterError(PipelineError):
    """A Ray cluster cannot be reached, or one of its machines lacks a requirement."""


class ExportError(PipelineError):
    """Results cannot be written to files."""


class CorrectionsFileError(PipelineError):
    """A file of corrections cannot be read: nothing of it was imported."""


class ObjectStoreError(PipelineError):
    """An object in a folder or a bucket cannot be read or written."""


class ManifestError(PipelineError):
    """A manifest of exported corrections is missing, damaged, or names what is not there."""


class ModelError(PipelineError):
    """Trained weights cannot be registered, found, promoted or fetched."""


class LearningError(PipelineError):
    """A round of learning cannot be run, or its training made no weights that can be used."""


class ImageListError(PipelineError):
    """A file, a folder or a glob that means no image."""


class ImageResultError(PipelineError):
    """Results of an image cannot be written, or would overwrite something else."""


class JobError(PipelineError):
    """A job of the serverless worker fails.

    Args:
        code: for programs, such as "invalid_input"; docs/serverless.md lists them.
        message: what is wrong.
        cure: what to do.
    """

    def __init__(self, code: str, message: str, cure: str) -> None:
        super().__init__(message)
        self.code, self.message, self.cure = code, message, cure


class StoreError(PipelineError):
    """The database is unavailable, or refuses a request."""


class CountyMismatch(StoreError):
    """The database has another county under this key: its source is not that of the entry."""


class NotStored(StoreError):
    """There is no such property, detection or token."""


class InvalidOutline(StoreError):
    """A drawn outline has no area, crosses itself beyond repair, or lies outside the boundary.

    Args:
        at: where, longitude and latitude in degrees; None if it is no single place.
    """

    def __init__(self, message: str, at: tuple[float, float] | None = None) -> None:
        super().__init__(message)
        self.at = at


class VersionConflict(StoreError):
    """The detection changed after it was read: read it again, then decide."""
