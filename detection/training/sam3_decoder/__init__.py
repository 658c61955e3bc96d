"""Training of SAM3's decoder on corrections: any SAM3, its encoder frozen below the tier `full`.

recipe        data, settings, task and export for the trainer
tiers         which parts each tier trains, and their learning rates
chips         labelled chips: what a person judged in a lot, by label
poses         the fixed views of a chip
views         a view's pixels and truth
rows          the truth of a view's prompts; `batches` puts views together
kept_views    views on the disk: tokens by chip, view and encoder, and all before the mask decoder
step          the loss terms of a batch
task          batches of corrections and rehearsal for the trainer
delta         only the trained tensors, as a file that names its base
lot_judge     judges weights inside lots that are not trained on
"""
