"""Parcels cached in the database.

database_cache  DatabaseCache: responses by layer
layer_snapshot  a snapshot of a whole layer
rows            rows of a parcel layer as stored
"""
