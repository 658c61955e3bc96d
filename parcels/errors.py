"""The errors of `parcels`.

    ParcelsError
    ├── RegistryError            the registry file, a county or one of its keys is wrong
    ├── GeometryError            a geometry that cannot be repaired, or has no CRS
    ├── PropertyError            a property that cannot be looked up as it is written
    └── SourceError              a parcel source could not answer
        ├── SourceUnavailable    for now: try again later (never means "no lot")
        └── SourceMisconfigured  until the registry entry is mended

A message says what, where and how to mend it.
"""


class ParcelsError(Exception):
    """The base of every error that `parcels` raises on purpose."""


class RegistryError(ParcelsError):
    """The registry file, a county or one of its keys is wrong."""


class GeometryError(ParcelsError):
    """A geometry that cannot be repaired, or that says no CRS."""


class PropertyError(ParcelsError):
    """A property that cannot be looked up as it is written."""


class SourceError(ParcelsError):
    """A parcel source could not answer."""


class SourceUnavailable(SourceError):
    """The source does not answer now; it says nothing about whether there is a lot."""


class SourceMisconfigured(SourceError):
    """The source will not answer until its registry entry is mended."""
