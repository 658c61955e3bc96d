"""Files in a folder or in an S3 bucket, by content: what training reads and what it writes."""
