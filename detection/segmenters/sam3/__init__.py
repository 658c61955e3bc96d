"""SAM3: detects what a text prompt names in chips.

    tokens       text -> token ids, offline
    preprocess   chips -> the network's input pixels
    exemplars    boxes and points that show positive or negative examples
    prompts      text (encoded once per phrase) and exemplars -> prompt tokens
    forward      pixels and prompts -> scores, boxes, masks, semantic map
    fast/        the same forward pass, rebuilt for speed
    network      one interface for both forward passes
    postprocess  output -> object masks (discrete labels) and cover masks (continuous ones)
    keymap       tensor names: Meta's and the hub's -> transformers'
    sources      a folder, file or hub id -> its weight files
    config       config.json, validated
    weights      a folder, file or hub id -> a network, strict, with SHA-256
    phrases      what the small networks are taught
    segmenter    Sam3: all of this behind the `Segmenter` protocol
    tiny/        weights of a small network, trained on the synthetic county

Importing this loads no torch.
"""
