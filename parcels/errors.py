"""The errors of `parcels`.

    ParcelsError
    ├── InstallationError               the environment points to another installation's data
    ├── RegistryError                   an invalid registry file, county or key
    ├── GeometryError                   a geometry that cannot be repaired, or has no CRS
    ├── PropertyError                   a property without a usable id, point or address
    ├── CacheError                      cached parcels cannot be read or written
    │   └── SnapshotLocked              another process is making the same snapshot
    └── SourceError                     a parcel source failed
        ├── SourceUnavailable           transient: retry later (never means "no lot")
        │   ├── RateLimited             HTTP 429 or Retry-After
        │   └── IncompleteResponse      the response disagrees with the server's own counts
        │       └── ColumnsMissing      no row of it has a mapped column
        └── SourceMisconfigured         permanent until the registry entry is corrected
            ├── AuthenticationRequired  a token is missing, or was rejected
            ├── FirewallRefused         a web application firewall blocks the request
            ├── LayerNotFound           the service or the layer does not exist (any more)
            ├── AddressRefused          the address is private (SSRF protection), or not http(s)
            └── QueryRefused            the server rejects this query, but not others

A message names the problem, the place and the fix.
"""


class ParcelsError(Exception):
    """Base class of all errors of `parcels`."""


class InstallationError(ParcelsError):
    """The environment points PROJ or GDAL to the data of another installation."""


class RegistryError(ParcelsError):
    """An invalid registry file, county or key."""


class GeometryError(ParcelsError):
    """A geometry that cannot be repaired, or has no CRS."""


class PropertyError(ParcelsError):
    """A property without a usable id, point or address."""


class CacheError(ParcelsError):
    """Cached parcels cannot be read or written."""


class SnapshotLocked(CacheError):
    """Another process is making a snapshot of the same layer in the same cache."""


class SourceError(ParcelsError):
    """A parcel source failed."""


class SourceUnavailable(SourceError):
    """A transient failure: retry later. It says nothing about whether there is a lot."""


class SourceMisconfigured(SourceError):
    """A permanent failure until the registry entry is corrected."""


class RateLimited(SourceUnavailable):
    """The server limits the request rate (HTTP 429, Retry-After)."""


class IncompleteResponse(SourceUnavailable):
    """A response that disagrees with the server's own counts."""


class ColumnsMissing(IncompleteResponse):
    """No row of a response has a mapped column, although the layer lists it."""


class AuthenticationRequired(SourceMisconfigured):
    """The service needs a token, or rejected the token."""


class FirewallRefused(SourceMisconfigured):
    """A web application firewall blocks the request; a retry does not help."""


class LayerNotFound(SourceMisconfigured):
    """The service or the layer does not exist, or not any more."""


class AddressRefused(SourceMisconfigured):
    """The server's address is private (SSRF protection), or not http(s)."""


class QueryRefused(SourceMisconfigured):
    """The server rejects this query, but not others."""
