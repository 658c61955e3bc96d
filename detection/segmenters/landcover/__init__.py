"""landcover: a small convolutional network that finds six labels on a CPU.

segmenter   the segmenter: chips in, masks out
preprocess  a chip -> the network's input
network     encoder and decoder
inference_network   the network as it is run: batch norms folded
encoder     EfficientNet-Lite2
weights     loading and saving; the shipped weights are in weights/
"""
