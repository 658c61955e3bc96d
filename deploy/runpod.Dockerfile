# syntax=docker/dockerfile:1
# The worker of a serverless GPU: docs/serverless.md. Build it in the root of a clone:
#
#   docker build --file deploy/runpod.Dockerfile --tag you/lotline-worker .
#
# Weights come from the champion file, into LOTLINE_HOME: a cached volume keeps them from one start
# to the next. Or they are baked in, from a folder of the build context:
#
#   --build-arg WEIGHTS=weights --build-arg LANDCOVER_WEIGHTS=/opt/weights     (or SAM3_WEIGHTS)
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim-bookworm AS installed
WORKDIR /src
RUN python -m venv /opt/lotline
COPY pyproject.toml README.md LICENSE registry.yaml requirements.lock ./
COPY deploy/runpod.lock deploy/
COPY parcels parcels
COPY detection detection
COPY pipeline pipeline
# The locks pin what is needed, and most of requirements.lock is not.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/lotline/bin/pip install --constraint requirements.lock --constraint deploy/runpod.lock \
    ".[runpod]"

FROM python:${PYTHON_VERSION}-slim-bookworm
# The package's own weights, unless others are named.
ARG WEIGHTS=detection/segmenters/landcover/weights
ARG LANDCOVER_WEIGHTS=""
ARG SAM3_WEIGHTS=""
ARG SEGMENTER=landcover
# A volume that only root may write needs RUN_AS=root.
ARG RUN_AS=lotline
RUN useradd --uid 10001 --create-home --home-dir /var/lib/lotline lotline
COPY --from=installed /opt/lotline /opt/lotline
COPY ${WEIGHTS} /opt/weights/
ENV LANDCOVER_WEIGHTS=${LANDCOVER_WEIGHTS} \
    SAM3_WEIGHTS=${SAM3_WEIGHTS} \
    SEGMENTER=${SEGMENTER} \
    LOTLINE_HOME=/var/lib/lotline/home \
    LOG_FORMAT=json \
    PYTHONUNBUFFERED=1
USER ${RUN_AS}
WORKDIR /var/lib/lotline
# Without a shell, so that the worker itself gets SIGTERM.
ENTRYPOINT ["/opt/lotline/bin/python", "-m", "pipeline.serve.runpod_handler"]
