"""Training of sam3-tiny: data, losses, network and training loop.

Nothing in `detection` or `pipeline` imports this package when it is imported.

train_tiny    the training loop, and saving the weights
tiny_data     random chips of synthetic neighbourhoods, with prompts and truth
tiny_network  the architecture of sam3-tiny and its initialisation
losses        SAM3's losses
truth         synthetic neighbourhoods as rasters, and the truth of a chip
phrases       training prompts, and prompts for absent things
"""
