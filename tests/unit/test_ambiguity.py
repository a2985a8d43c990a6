"""JSON that two readers would understand in two ways is no manifest, and no image config."""

import json

import pytest

from mirror.oci.ambiguity import check_names
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import OCI_MANIFEST, parse_config, parse_manifest

GOOD = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 2},
        "layers": [],
        "annotations": {"Layers": "any name will do here", "layers": "also twice, but for capitals"},
    }
)
CONFIG = json.dumps(
    {
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Env": ["A=b"], "Labels": {"OS": "anything", "Digest": "anything"}},
    }
)
DIGEST = '"digest": "sha256:'
AMBIGUOUS = {
    "a name twice": (GOOD, '"layers": []', '"layers": [], "layers": []'),
    "capitals": (GOOD, '"layers": []', '"layers": [], "Layers": []'),
    "nothing but capitals": (GOOD, '"layers": []', '"LAYERS": []'),
    "letters that fold to others": (GOOD, '"layers": []', '"layers": [], "layer\u017f": []'),
    "in a descriptor": (GOOD, DIGEST, f'"DIGEST": "sha256:{"1" * 64}", {DIGEST}'),
    "twice in a descriptor": (GOOD, DIGEST, f'{DIGEST}{"1" * 64}", {DIGEST}'),
    "twice, deeper than we look": (GOOD, '"annotations": {', '"annotations": {"a": "b", "a": "c", '),
    "in an index": (
        GOOD,
        '"layers": []',
        '"manifests": [{"platform": {"OS": "linux"}}]',
    ),
    "in a config": (CONFIG, '"rootfs"', '"ROOTFS": {"type": "layers", "diff_ids": ["x"]}, "rootfs"'),
    "twice in a config": (CONFIG, '"rootfs"', '"rootfs": {"type": "layers", "diff_ids": ["x"]}, "rootfs"'),
    "in a root file system": (CONFIG, '"diff_ids"', '"Diff_IDs": ["x"], "diff_ids"'),
}


@pytest.mark.parametrize("text", [GOOD, CONFIG, "[]", "7", "{}"])
def test_what_is_not_ambiguous(text: str) -> None:
    """Names that nobody takes for others are anybody's choice."""
    assert check_names(text) == text


@pytest.mark.parametrize(("text", "old", "new"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_is(text: str, old: str, new: str) -> None:
    """It is refused, and by the words for a bad manifest."""
    assert old in text
    raw = text.replace(old, new, 1).encode()
    with pytest.raises(RegistryError) as refusal:
        (parse_manifest if text is GOOD else parse_config)(raw)
    assert refusal.value.problem is Problem.MANIFEST_INVALID
    assert "a name twice" in refusal.value.detail or "could be read as" in refusal.value.detail


@pytest.mark.parametrize("text", ["", "{", '{"a": ' * 100_000, "[" * 100_000, f'{{"a": {"9" * 5000}}}'])
def test_what_is_no_json(text: str) -> None:
    """Cut off, too deep, or a number beyond all bounds: refused likewise."""
    with pytest.raises(RegistryError):
        parse_manifest(text.encode())
