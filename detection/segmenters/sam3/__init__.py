"""SAM3: what a text prompt names, found in chips.

    tokens       text -> token ids, offline
    preprocess   chips -> the pixels that the network takes
    exemplars    boxes and points that show what is meant
    prompts      text (once a phrase) and exemplars -> the tokens of a prompt
    forward      pixels and prompts -> scores, boxes, masks, the semantic map
    fast/        the same forward pass, rebuilt for speed
    network      either of the two, as one thing to ask
    postprocess  answers -> objects (discrete labels) and cover (continuous ones)
    keymap       names of tensors: Meta's and the hub's to transformers'
    sources      a folder, file or hub id -> the files there
    config       the sizes that they are of, checked
    weights      a folder, file or hub id -> a network, strictly and by SHA-256
    segmenter    all of it behind the `Segmenter` protocol
    tiny/        weights of a small network for tests, trained on the synthetic county

Importing this loads no torch.
"""
