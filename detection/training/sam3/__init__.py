"""Training of sam3-nano: a small SAM3, taught by another segmenter's answers.

nano_recipe  data, settings, task and export for the trainer
task         one step: views, prompts, loss, as a function of (seed, step)
network      the architecture and its initialisation
losses       SAM3's losses for a batch; `matcher`, `boxes` and `targets` belong to them
tiles        imagery with the truth of each label; `instances` numbers the objects in it
views        random views of tiles; `augment` changes their colours
synthetic    synthetic scenes as tiles
prompts      the phrases of a step; `labels` has what they stand for
export       weights for detection; `judge` measures them through the segmenter

All but `synthetic` and `judge` need only torch, transformers and SciPy.
"""
