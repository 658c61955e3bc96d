"""Reviews: what people decided about detections.

verdicts       accept, reject, restore, relabel, edit, delete or add a detection
events         what all of them share: the event, the detection, the measurement
undo           takes a review back, or does it again
full_reviews   properties on which people looked at everything
carried_over   what a person accepted, carried over to the lots of today
tokens         who may use the review panel
work_list      properties to review, one after the other
teaching       those whose review teaches most first
leases         who has a property open
audit_samples  random samples, from which error rates are estimated
audit_answers  what reviewers say of a sample, blind to each other
audit_results  error rates and agreement of an audit; audit_statistics has the arithmetic
"""
