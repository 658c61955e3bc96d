"""Runs: one batch each.

lifecycle   start, heartbeat, finish, reclaim killed runs
metrics     what a run counted, as it is stored
totals      results of a run, counted by state, source and label
comparison  areas of two runs on the same properties
map_data    where the properties of a run are
"""
