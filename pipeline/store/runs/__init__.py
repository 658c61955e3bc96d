"""Runs: one batch each.

lifecycle   start, heartbeat and finish a run; reclaim killed ones
metrics     counters and stage times that a run stores
totals      results of a run, counted by state, source and label
comparison  areas that two runs measured on the same properties
counted_ground  which detections count in sums, and with which ground
map_data    locations of a run's properties, for maps
"""
