"""`lotline` that waits for nothing between its calls of a server that fails.

How often it calls, and what it makes of that, is as ever.
"""

from tenacity import wait_none

from parcels.arcgis.http import client
from pipeline.cli import main

assert client._wait_s  # else nothing is patched
client._wait_s = wait_none()

if __name__ == "__main__":
    main()
