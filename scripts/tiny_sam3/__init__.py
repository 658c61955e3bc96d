"""Parts of train_tiny_sam3.py: truth, words, the network's start, losses, measuring, saving."""
