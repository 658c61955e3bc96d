"""Reviews: what people decided about detections.

verdicts      accept, reject, restore, relabel, edit or add a detection
carried_over  what a person accepted, carried over to the lots of today
"""
