"""Training segmenters: data, losses and networks.

truth         synthetic neighbourhoods as training data
phrases       prompts for training, and prompts for what is absent
losses        SAM3's losses
tiny_network  the architecture of sam3-tiny and its initialisation
"""
