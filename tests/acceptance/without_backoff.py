"""`lotline` without backoff: it retries failed requests at once, as often as usual."""

from tenacity import wait_none

from parcels.arcgis.http import client
from pipeline.cli import main

assert client._wait_s  # else this patches nothing
client._wait_s = wait_none()

if __name__ == "__main__":
    main()
