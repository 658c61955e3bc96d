"""Parcels of an ArcGIS layer: the one ArcGIS client.

One call to a server:

    client       JSON, an image, or a file to post: retries, typed errors
    exchange     one try: redirects, size, time
    hosts        how many calls a host gets, and when it is left alone
    network      which addresses a server may have; connections holds to it
    tls, token   old renegotiation for named hosts; signing in
    answers      what an answer says, whatever its status and content type say
    breaker      stops asking a service that has failed again and again

What a layer is asked:

    layer        what it says of itself: columns, page length, last edit
    reference    in which CRS geometry goes there and comes back
    columns      the mapped columns, and what a row says in them
    where        SQL conditions
    query        one layer: a question in, a page of rows out
    objectids    all ids that answer a question, whatever the server cannot do
    pages        the rows with known ids, each page checked
    batches      many questions in few calls, halved where they fail; inflight runs two at once
    multipoint   the rows at points, and near them
    lookups      the rows with parcel ids, and those that may have an address
    harvest      a whole layer, and its stamp
    source       a county: its layer, then its alternates
"""

from parcels.arcgis.source import ArcGISSource

__all__ = ["ArcGISSource"]
