"""Images in files: OCI layouts, as directories or in an archive, and what `docker save` writes."""
