"""A round of learning: export, train, judge, promote.

tiers           what `lotline train` is run with, for each segmenter and tier that learns
base_check      whether a delta would be put on the base of the champion
round_lock      one round at a time
round_state     the round that is under way, so that the next run continues it
learning_need   new corrections, and whether they are enough
learning_round  the steps of a round, each of which may be repeated
"""
