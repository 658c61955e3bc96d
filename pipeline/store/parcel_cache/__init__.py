"""Parcels cached in the database.

database_cache  DatabaseCache: query results of each layer version
layer_snapshot  DatabaseSnapshot: all parcels of a layer, queried in PostGIS
rows            converts rows of a parcel layer from and to the database
"""
