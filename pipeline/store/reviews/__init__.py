"""Reviews: what people decided about detections.

verdicts   accept, reject, restore, relabel, edit or add a detection
"""
