"""Pictures of the ground: local GeoTIFFs and ImageServers, read by windows."""
