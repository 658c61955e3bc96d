"""HTTP for county servers: guarded, rate limited, retried, with typed errors.

address_guard    which network addresses a server may have (SSRF guard)
connections      connections to a checked address, with TLS and a time limit
rate_limit       calls per second and calls in flight for each host, over the whole process
exchange         one request and its response: redirects, size limit, deadline
responses        what a response means, whatever its status code and content type say
token            signing in to a service that needs a token
circuit_breaker  stops calling a service that keeps failing
client           ArcGISClient: a good response after retries with backoff, or a typed error
"""
