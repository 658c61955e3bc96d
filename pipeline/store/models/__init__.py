"""Trained weights: registered with what they come from, promoted, and fetched where they are used.

versions            the registered weights, and the champion of each segmenter
judgements          what the gate said of them
promotions          promote and roll back
model_files         their files, in a folder or a bucket and in the cache of this machine
promoted_segmenter  a segmenter with registered weights, checked
answer_check        the check: what it finds on a known chip
champion_holder     a segmenter that stays loaded, and picks up a new champion
load_events         which processes picked up weights, or could not use them
weights_source      how every consumer builds a segmenter: a delta with its base
"""
