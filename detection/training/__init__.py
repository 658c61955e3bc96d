"""The project's one trainer, and what it trains.

    entry           one training by its options; __main__ is `python -m detection.training`
    recipes         what can be trained, by name, each built when it is chosen
    task            the protocols: a task (network, data, loss), and how its weights are proven
    settings        of the trainer, with the reason for each default
    loop            `train`: steps, checkpoints, a clean end
    schedule        the learning rate: warm-up, then a cosine
    optimizer       AdamW that leaves out an update that is not finite
    step_memory     one step before the run; halves the batch where it does not fit
    ema             the running mean of the weights, which is exported
    checkpoints     atomic saves, verified reads, what is kept
    proof           export, strict load, same answers, judge; prove_later does it after a run
    run_folder      lock, record, checkpoints and best weights of a run
    run_record      run.json and metrics.jsonl
    run_state       network, average, optimiser and random_states: to a checkpoint and back
    atomic          files and folders that are there completely or not at all
    stop_request    Ctrl-C and SIGTERM
    tiny_recipe     sam3-tiny; tiny_data, tiny_network and losses are its parts
    sam3/           sam3-nano
    sam3_decoder/   sam3-decoder: SAM3's decoder on corrections

Importing `recipes` loads no torch. The trainer itself needs torch and NumPy only.
"""
