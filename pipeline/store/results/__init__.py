"""Writing what was found: a chunk of lots in one transaction.

writer          writes a chunk; retries, and halves a chunk that is refused
merge           merges a copied chunk into the tables
outcomes        what is written: a result for each property
findings        the polygons of a chunk, with fingerprints
review_matches  which findings match a reviewed detection (IoU)
reconcile       new, unchanged or superseded detections
measurements    saved areas by label and property
"""
