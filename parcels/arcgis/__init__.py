"""Parcels of an ArcGIS layer: the one ArcGIS client.

One call, from the socket up:

network      which addresses a server may have
connections  a connection to a checked address, with TLS and a time limit
tls          an older handshake, for hosts that are named
hosts        how often a host is asked, by all clients of the process
exchange     one question and its answer: redirects, size
answers      what an answer says, whatever its status and content type say
token        signing in
client       a good answer after retries, or a typed error
breaker      stops asking a service that has failed again and again

One layer, from the call up:

layer        what a layer says of itself
columns      the columns that are asked for
reference    the CRS that geometry goes and comes in
where        SQL conditions
query        a question in, its rows out
batches      many questions in few calls, halved where one is bad
inflight     several calls at once, their answers in order
multipoint   the rows at or near points
lookups      the rows with ids, and those that may have an address
objectids    all object ids that answer a question
pages        their rows, checked page by page
harvest      the whole layer
source       a county: its layer, then its alternates
"""

from parcels.arcgis.arcgis_source import ArcGISSource

__all__ = ["ArcGISSource"]
