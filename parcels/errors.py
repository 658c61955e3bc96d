"""The errors of `parcels`.

    ParcelsError
    ├── RegistryError                   the registry file, a county or one of its keys is wrong
    ├── GeometryError                   a geometry that cannot be repaired, or has no CRS
    ├── PropertyError                   a property that cannot be looked up as it is written
    ├── CacheError                      a local copy of parcels that cannot be read or written
    │   └── CopiedElsewhere             another process makes that copy just now
    └── SourceError                     a parcel source could not answer
        ├── SourceUnavailable           for now: try again later (never means "no lot")
        │   ├── RateLimited             it asked to be left alone for a while
        │   └── IncompleteAnswer        it sent less, or something else, than it says it has
        └── SourceMisconfigured         until the registry entry is mended
            ├── AuthenticationRequired  it wants a token, or refuses the one it was given
            ├── FirewallRefused         a web firewall stands before it
            ├── LayerNotFound           there is no such service or layer (any more)
            ├── AddressRefused          its address is private, or not http at all
            └── QueryRefused            it answers others, and will not answer this one query

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


class CacheError(ParcelsError):
    """A local copy of parcels cannot be read or written."""


class SnapshotLocked(CacheError):
    """Another process copies the same parcels to the same place."""


class SourceError(ParcelsError):
    """A parcel source could not answer."""


class SourceUnavailable(SourceError):
    """The source does not answer now; it says nothing about whether there is a lot."""


class SourceMisconfigured(SourceError):
    """The source will not answer until its registry entry is mended."""


class RateLimited(SourceUnavailable):
    """The server asked to be left alone for a while."""


class IncompleteResponse(SourceUnavailable):
    """The server sent less, or something else, than it says it has."""


class AuthenticationRequired(SourceMisconfigured):
    """The service wants a token, or refuses the one it was given."""


class FirewallRefused(SourceMisconfigured):
    """A web firewall refuses the call; to repeat it does not help."""


class LayerNotFound(SourceMisconfigured):
    """There is no such service or layer, or no longer."""


class AddressRefused(SourceMisconfigured):
    """The server's address is private, or no web address at all."""


class QueryRefused(SourceMisconfigured):
    """The server is there and answers others: it will not answer this one query."""
