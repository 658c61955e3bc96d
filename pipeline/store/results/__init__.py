"""Writes results: a chunk of lots in one transaction.

writer          writes a chunk; retries, and halves a chunk that the database refuses
merge           merges a staged chunk into the tables
outcomes        the outcome of each property: input and result of a write
findings        the new detections of a chunk, with fingerprints
decided_ground  findings on ground that people decided about: suppressed, or cut
review_matches  which findings match a reviewed detection (IoU)
reconcile       new, unchanged, superseded and suppressed detections
measurements    the saved area of each label on a property
"""
