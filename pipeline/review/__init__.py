"""The review panel: a web page on which people correct detections, and its API.

app            the application: routes, and what guards them
access         who is asking: a session, a token, or the user of this machine
request_guard  the Host header, the size of a body, and the headers of every response
problems       errors as problem details (RFC 9457); the one table of errors and statuses
panel_context  what the routes share: the database, the registry, open imagery
imagery_tiles  the imagery that the segmenter saw, as tiles in Web Mercator
routes/        session, pages, features (OGC API), properties, reviews, tiles
server         serves the application until Ctrl-C
"""
