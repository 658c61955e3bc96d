"""What this machine has, and what can be done with it: `lotline doctor`.

    report      all checks of one report, in their order
    checks      runs checks side by side, each within its time
    machine     Python, processor, memory and disk
    packages    the optional extras of Lotline
    torch_probe torch, GPUs and weights, each looked at by a process of its own
    probe       that process
    fits        which segmenters and training tiers fit into the memory
    services    database, counties' servers, S3

Nothing is installed, downloaded, migrated or written.
"""
