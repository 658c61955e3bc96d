"""HTTP for county servers: guarded, rate limited, retried, with typed errors.

client           ArcGISClient: the response, or a typed error after the last retry
retry            retry of transient errors: exponential backoff, jitter, Retry-After
circuit_breaker  no calls to a service that keeps failing: closed, open, half-open
rate_limit       calls per second and calls in flight for each host, shared by the process
responses        response -> JSON or typed error, whatever its status and content type are
token            tokens for services that require one
exchange         one request and its response: redirects, size limit, timeouts
connections      sockets to checked addresses, TLS (also legacy), response deadline
address_guard    SSRF guard: the network addresses that a server may have
"""
