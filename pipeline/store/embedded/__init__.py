"""A private PostGIS server on this machine, started on demand.

postgres   EmbeddedPostgres: start, share and stop a cluster
server     creates, starts, finds and stops the server of one cluster folder
programs   finds PostgreSQL's programs and runs them
paths      where the cluster and its socket are
"""
