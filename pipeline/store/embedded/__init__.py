"""A private PostGIS server on this machine, started on demand.

postgres   EmbeddedPostgres: starts, shares and stops a cluster (file locks)
server     creates, starts, finds and stops the server of one cluster folder
programs   finds and runs PostgreSQL's programs
paths      the folders of a cluster and of its socket
"""
