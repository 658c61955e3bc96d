"""Evaluation of segmenters against a known truth.

traced              truth traced by eye: class codes and windows
tile_images         the imagery it was traced on, at any ground sample distance
answers             what a rival says of a window; segmenter_answers runs a segmenter as a batch
                    does; code_answers reads class codes (another model, a second pass)
  field_sampling    masks -> the truth's pixels
pixel_counts        pixels of a label in a window, and confidences
instances           objects: AP50, F1
absent_prompts      what a promptable segmenter finds of things that are not there
lot_areas           lawn areas of lots through the detector
bootstrap           intervals over tiles
segmenter_report    all figures of one rival; `evaluate` puts everything together
rivals_table        several rivals as a Markdown table; pictures: where they are wrong
sample_county       pixel IoU, objects found and absent prompts on synthetic lots
"""
