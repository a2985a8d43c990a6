"""The OCI vocabulary: names, manifests, chain IDs and errors, as pure functions over values."""
