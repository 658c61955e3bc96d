"""`lotline` without backoff: it retries failed requests at once, as often as usual."""

from tenacity import wait_none

from parcels.arcgis.http import retry
from pipeline.cli import main

assert retry._BACKOFF_S  # else this patches nothing
retry._BACKOFF_S = wait_none()

if __name__ == "__main__":
    main()
