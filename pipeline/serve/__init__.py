"""Lotline as a service.

runpod_handler   the worker of a serverless GPU, on the runpod SDK: its entry point and its handler
worker           what a worker has: its settings, where results go, the loaded segmenter
job_input        what a job may ask for, validated
job_runner       one job from its input to its answer, which never raises
job_context      what a running job uses: its folder, its store, progress, whether to end
job_errors       every failure as a code, a message and a cure
job_store        what a job leaves in the object store; its manifest is written last
image_download   images of addresses, by the rules against internal addresses
detect_job       masks and polygons of images
train_job        a training run, in a process of its own
run_snapshot     the checkpoints of an unfinished run, to continue it on another machine
"""
