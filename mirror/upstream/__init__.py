"""The central registries: how blobs and manifests get there over HTTP."""
