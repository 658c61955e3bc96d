"""The panel's routes, by what they are about."""
