"""Training of landcover.

recipe           the training: data, loss, export, judge
pack             the tiles and what was traced, in one file
views            random views of tiles
loss             traced pixels, near infrared, a teacher
judge            IoU and area error on held-out windows
teach            a teacher's answers on all tiles, by several weights
encoder_weights  ImageNet's weights for the encoder
"""
