"""Sends a training to an MLflow tracking server, if MLFLOW_TRACKING_URI names one.

A run's folder has all that is sent, so nothing is queued elsewhere: `mlflow.json` beside it says
how far the server has it. What it has not is sent later, by the same training, by its resume, by
the next training beside it, or by `python -m detection.training.tracking FOLDER`.

server       the server's REST interface
settings     what the environment says of the server
sent         mlflow.json: how far a server has a run
rows_tail    the rows of a file that are new
send_run     brings the server up to date with a run's folder
tracked_run  does so beside a training, which never waits for it
"""
