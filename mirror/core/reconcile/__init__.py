"""The journal and containerd, compared and mended: survey → compare → findings → mend, round after round."""
