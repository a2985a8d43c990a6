"""The table: what the distribution spec asks of a registry, in our words, and the test that proves each point.

Source: OCI distribution-spec, its main branch of July 2026 (1.1 and what was added since), and RFC 9110 for the HTTP
that the spec only points to. A row stands for one MUST, MUST NOT, SHOULD or SHOULD NOT. What it asks of clients alone
is not here; what it asks of both sides, or of the shape of a message, is: the registry then takes what fits and refuses
what does not. Every row says what is so, whatever its level. A row of level MAY is a choice that the spec leaves open
and that we have made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much the spec wants it."""

    MUST = "MUST"
    MUST_NOT = "MUST NOT"
    SHOULD = "SHOULD"
    SHOULD_NOT = "SHOULD NOT"
    MAY = "MAY"


class Category(StrEnum):
    """The parts of the table; the middle four are the spec's own."""

    GENERAL = "General"
    PULL = "Pull"
    PUSH = "Push"
    DISCOVERY = "Content discovery"
    MANAGEMENT = "Content management"
    HTTP = "HTTP"


@dataclass(frozen=True)
class Inapplicable:
    """Why nothing is there to be tested."""

    reason: str


@dataclass(frozen=True)
class Requirement:
    """One row: where the spec asks for it, how much, what it is, and the test function that proves it."""

    category: Category
    section: str
    level: Level
    text: str
    proof: str | Inapplicable


MUST, MUST_NOT, SHOULD, SHOULD_NOT, MAY = Level
_Row = tuple[Level, str, str | Inapplicable]


def _section(category: Category, section: str, *rows: _Row) -> Iterator[Requirement]:
    """The rows of one section."""
    return (Requirement(category, section, *row) for row in rows)


_DELETION_IS_ON = Inapplicable("Deletion is always on.")
_ONE_LIST = Inapplicable("The list of referrers is never split: every answer is the whole of it.")
_NO_WARNINGS = Inapplicable("No answer carries a `Warning` header.")

REQUIREMENTS: tuple[Requirement, ...] = (
    # --- General
    *_section(
        Category.GENERAL,
        "Requirements",
        (MUST, "Every API of the Pull category is there.", "test_every_endpoint"),
        (SHOULD, "So are those of Push, Content Discovery and Content Management.", "test_every_endpoint"),
        (MUST, "A category that is claimed is there as a whole.", "test_every_endpoint"),
    ),
    *_section(
        Category.GENERAL,
        "Registry Proxying",
        (
            SHOULD,
            "The host that `ns` names is what the image's full name begins with.",
            "test_the_namespace_of_an_image",
        ),
        (
            SHOULD,
            "It is the registry that the client holds for the primary one.",
            Inapplicable("Only the client knows."),
        ),
        (
            SHOULD,
            "A request that `ns` scopes is answered with its value in `OCI-Namespace`.",
            "test_the_namespace_of_a_request",
        ),
        (MAY, "`OCI-Namespace` is sent only to those who sent `ns`.", "test_no_namespace"),
        (
            SHOULD_NOT,
            "Credentials for the upstream are not sent to a proxy.",
            Inapplicable("No client is asked for any."),
        ),
    ),
    *_section(
        Category.GENERAL,
        "Referrers Tag Schema",
        (
            MUST,
            "The fallback tag of a digest is its algorithm and its encoded part, joined by a hyphen.",
            "test_the_fallback_tag_of_older_clients",
        ),
        (MUST, "Of the algorithm it has at most 32 characters.", "test_a_fallback_tag_of_another_algorithm"),
        (MUST, "Of the encoded part it has at most 64 characters.", "test_a_fallback_tag_of_another_algorithm"),
    ),
    *_section(
        Category.GENERAL,
        "Enabling the Referrers API",
        (
            MUST,
            "Images with a subject that a fallback tag lists are among the referrers.",
            "test_the_fallback_tag_of_older_clients",
        ),
        (MUST, "Every image with a subject that is pushed is among the referrers.", "test_every_referrer_once"),
    ),
    *_section(
        Category.GENERAL,
        "API",
        (
            SHOULD,
            "Where the spec is silent HTTP's own rules hold (see the part on HTTP).",
            "test_a_method_that_is_not_there",
        ),
        (MAY, "Query parameters that mean nothing here are ignored.", "test_unknown_parameters"),
    ),
    *_section(
        Category.GENERAL,
        "Error Codes",
        (
            MUST,
            "A JSON body of a 4xx is an object with a list `errors`, each with code, message and detail.",
            "test_a_refusal",
        ),
        (
            MUST,
            "A code is made of capital letters and underscores, and stands for one kind of error.",
            "test_a_refusal",
        ),
        (SHOULD, "A message is for people to read.", "test_a_refusal"),
        (MUST, "A code is one of the fourteen of the spec.", "test_a_refusal"),
        (SHOULD, "A 429 says in `Retry-After` when to come again.", Inapplicable("No request is ever answered 429.")),
    ),
    *_section(
        Category.GENERAL,
        "Warnings",
        (MUST, "A `Warning` has the code 299 and the agent `-`.", _NO_WARNINGS),
        (MUST_NOT, "A `Warning` has no date.", _NO_WARNINGS),
        (MUST_NOT, "The warnings of an answer have no more than 4096 bytes together.", _NO_WARNINGS),
    ),
    # --- Pull
    *_section(
        Category.PULL,
        "Pulling manifests",
        (MUST, "A manifest is asked for by tag or by digest.", "test_a_manifest_is_served"),
        (MUST_NOT, "A manifest is asked for by nothing else.", "test_neither_tag_nor_digest"),
        (MUST, "The name of a repository fits the grammar.", "test_a_name"),
        (MUST, "A tag has at most 128 characters.", "test_a_tag_in_the_grammar"),
        (MUST, "A tag fits the grammar.", "test_a_tag_in_the_grammar"),
        (SHOULD_NOT, "`Content-Type` has no parameters.", "test_a_manifest_has_the_type_it_was_pushed_with"),
        (
            SHOULD,
            "`Content-Type` is the one that the manifest was pushed with.",
            "test_a_manifest_has_the_type_it_was_pushed_with",
        ),
        (MUST, "A GET of a manifest that is there brings that manifest.", "test_a_manifest_is_served"),
        (MUST, "Its status is 200.", "test_a_manifest_is_served"),
        (MUST, "Its digest is in `Docker-Content-Digest`.", "test_a_manifest_is_served"),
        (MUST, "A manifest that the repository does not hold is 404.", "test_an_unknown_manifest"),
        (MAY, "`Accept` is disregarded: what was pushed is what is served.", "test_accept_is_disregarded"),
    ),
    *_section(
        Category.PULL,
        "Pulling blobs",
        (MUST, "A GET of a blob that is there brings that blob.", "test_a_blob_is_served"),
        (MUST, "Its status is 200.", "test_a_blob_is_served"),
        (MUST, "Its digest is in `Docker-Content-Digest`.", "test_a_blob_is_served"),
        (MUST, "That digest is the one of the body.", "test_a_blob_is_served"),
        (MUST, "A blob that the repository does not hold is 404.", "test_an_unknown_blob"),
        (SHOULD, "`Range` brings a part of a blob.", "test_a_range"),
    ),
    *_section(
        Category.PULL,
        "Checking if content exists in the registry",
        (MUST, "A HEAD of a blob or manifest that is there is 200.", "test_head_of_what_is_there"),
        (MUST, "Its digest is in `Docker-Content-Digest`.", "test_head_of_what_is_there"),
        (MUST, "Its size in bytes is in `Content-Length`.", "test_head_of_what_is_there"),
        (MUST, "A HEAD of what the repository does not hold is 404.", "test_head_of_what_is_not_there"),
    ),
    # --- Push
    *_section(
        Category.PUSH,
        "Push",
        (MUST, "A manifest is taken before the subject it names.", "test_a_manifest_with_a_subject"),
        (
            MUST,
            "A manifest refused for missing content is refused as `MANIFEST_BLOB_UNKNOWN`.",
            "test_a_manifest_with_missing_blobs",
        ),
        (MAY, "An index is taken without the manifests it names.", "test_an_index_may_be_sparse"),
    ),
    *_section(
        Category.PUSH,
        "Pushing blobs",
        (SHOULD, "A digest that is invalid or of an unsupported algorithm is 400.", "test_an_invalid_digest"),
    ),
    *_section(
        Category.PUSH,
        "POST then PUT",
        (MUST, "The POST that opens an upload is 202.", "test_a_session_opens"),
        (MUST, "It says in `Location` where the bytes go.", "test_a_session_opens"),
        (MUST, "That address holds a UUID, another one for each session.", "test_a_session_opens"),
        (SHOULD, "The PUT goes to that very address.", "test_post_then_put"),
        (MUST, "The PUT of the bytes is 201.", "test_post_then_put"),
        (MUST, "The blob can be pulled from its `Location`.", "test_post_then_put"),
    ),
    *_section(
        Category.PUSH,
        "Single POST",
        (MAY, "A blob can be pushed in one request.", "test_a_single_post"),
        (MUST, "`Content-Length` is the length of the blob.", "test_a_body_shorter_than_announced"),
        (MUST, "The digest is the one of the blob.", "test_an_invalid_digest"),
        (SHOULD, "Where this way is not supported, 202 opens a session.", Inapplicable("This way is supported.")),
        (MUST, "Its status is 201.", "test_a_single_post"),
        (MUST, "The blob can be pulled from its `Location`.", "test_a_single_post"),
    ),
    *_section(
        Category.PUSH,
        "Pushing a blob in chunks",
        (MUST, "The POST that opens an upload has no body and says so.", "test_a_session_opens"),
        (
            SHOULD,
            "An algorithm other than sha256 is announced with the POST: it is refused there.",
            "test_an_algorithm_that_is_unsupported",
        ),
        (MAY, "sha256 can be announced too.", "test_the_algorithm_that_is_supported"),
        (SHOULD, "The least size of a chunk is announced in `OCI-Chunk-Min-Length`.", "test_the_least_chunk_is_advice"),
        (MUST, "A range of a chunk counts both its ends.", "test_both_ends_of_a_range_count"),
        (MUST, "The first chunk begins at 0.", "test_a_chunk_out_of_order"),
        (MUST, "A range fits the grammar of two numbers.", "test_a_range_out_of_the_grammar"),
        (
            SHOULD,
            "Chunks but the last have the least size announced: smaller ones are taken all the same.",
            "test_the_least_chunk_is_advice",
        ),
        (MUST, "The PATCH of a chunk is 202.", "test_chunks"),
        (MUST, "It says in `Location` where the next one goes, and in `Range` how far the upload is.", "test_chunks"),
        (SHOULD, "Each chunk goes to the `Location` of the answer before.", "test_chunks"),
        (MUST, "Chunks come in order, each beginning where the one before ended.", "test_chunks"),
        (MUST, "A chunk out of order is 416.", "test_a_chunk_out_of_order"),
        (MUST, "Only a PUT closes the session, wherever the last chunk was.", "test_only_the_closing_put_makes_a_blob"),
        (MUST, "The closing PUT has the digest of the whole blob.", "test_the_closing_put_names_the_whole_blob"),
        (MUST, "The closing PUT is 201.", "test_chunks"),
        (MUST, "The blob can be pulled from its `Location`.", "test_chunks"),
        (MUST, "A last chunk out of order is 416 in the closing PUT too.", "test_a_chunk_out_of_order"),
        (MUST, "The GET of an open session is 204.", "test_the_status_of_an_upload"),
        (
            MUST,
            "It says in `Location` where to go on, and in `Range` how far the upload is.",
            "test_the_status_of_an_upload",
        ),
        (SHOULD, "The upload goes on at that `Location`.", "test_the_status_of_an_upload"),
    ),
    *_section(
        Category.PUSH,
        "Cancel a blob upload",
        (SHOULD, "The DELETE of a session is 204.", "test_a_cancelled_upload"),
        (SHOULD, "Sessions that nobody finishes end by themselves.", "test_a_forgotten_upload"),
    ),
    *_section(
        Category.PUSH,
        "Mounting a blob from another repository",
        (MUST, "A mount is 201.", "test_a_blob_is_mounted"),
        (MUST, "The blob can be pulled from its `Location`.", "test_a_blob_is_mounted"),
        (SHOULD, "A mount that cannot be is 202 and opens a session.", "test_a_mount_that_cannot_be"),
        (MAY, "Without `from` a blob is mounted from wherever it is.", "test_a_blob_is_mounted"),
    ),
    *_section(
        Category.PUSH,
        "Pushing Manifests",
        (SHOULD, "Parameters of the pushed `Content-Type` are ignored.", "test_parameters_of_the_content_type"),
        (
            SHOULD,
            "A manifest has a `mediaType`: one without is what the header says.",
            "test_a_manifest_that_does_not_say_its_type",
        ),
        (MUST, "`Content-Type` is the manifest's `mediaType`, where it has one.", "test_two_types_for_one_manifest"),
        (MUST, "A manifest is put under a tag or a digest.", "test_neither_tag_nor_digest"),
        (
            MUST,
            "A manifest names every blob that its object is made of.",
            Inapplicable("Only the client knows what its object is made of."),
        ),
        (MAY, "The list of those blobs is empty.", "test_an_image_without_layers"),
        (MUST, "A manifest is stored to the byte.", "test_a_manifest_is_kept_to_the_byte"),
        (MUST, "The PUT of a manifest is 201.", "test_a_manifest_is_kept_to_the_byte"),
        (MUST, "The manifest can be pulled from its `Location`.", "test_a_manifest_is_kept_to_the_byte"),
        (MUST, "`Docker-Content-Digest` is the digest of what the client sent.", "test_a_manifest_is_kept_to_the_byte"),
        (
            MAY,
            "A manifest put under a digest that it does not have is refused.",
            "test_a_manifest_under_the_digest_of_another",
        ),
        (SHOULD, "Ten tags or more can be put beside a digest.", "test_tags_beside_a_digest"),
        (MAY, "Too many tags are 414.", "test_too_many_tags"),
        (MUST, "Each tag that was made is named in `OCI-Tag`.", "test_tags_beside_a_digest"),
        (MUST, "A pull from a repository that does not exist is 404.", "test_an_unknown_repository"),
        (SHOULD, "Manifests have a greatest size.", "test_a_manifest_that_is_too_large"),
        (SHOULD, "A larger one is 413.", "test_a_manifest_that_is_too_large"),
        (SHOULD, "Four megabytes are not too large.", "test_a_large_manifest"),
    ),
    *_section(
        Category.PUSH,
        "Pushing Manifests with Subject",
        (
            MUST,
            "A manifest with a subject is answered with the subject's digest in `OCI-Subject`.",
            "test_a_manifest_with_a_subject",
        ),
        (MAY, "`OCI-Subject` is sent for these manifests only.", "test_no_subject_no_header"),
    ),
    # --- Content discovery
    *_section(
        Category.DISCOVERY,
        "Listing Tags",
        (MUST, "The tags of a repository that is there are 200.", "test_all_tags"),
        (MAY, "A repository without tags has an empty list.", "test_no_tags"),
        (MAY, "The tags of a repository that is not there are 404.", "test_tags_of_an_unknown_repository"),
        (MUST, "Tags are in ASCII order.", "test_all_tags"),
        (MUST, "The answer is JSON with the name and the tags.", "test_all_tags"),
        (MUST, "With `n` there are `n` tags, or all that are left.", "test_some_tags"),
        (MAY, "A `Link` leads on to more tags.", "test_tags_page_by_page"),
        (MAY, "`Link` carries `ns` on.", "test_pages_of_another_registry"),
        (MUST, "`Link` has the relation `next` and the form of its RFC.", "test_tags_page_by_page"),
        (MUST, "With `n=0` the list is empty.", "test_none_of_the_tags"),
        (MUST_NOT, "With `n=0` there is no `Link`.", "test_none_of_the_tags"),
        (MUST, "With `n` tags are in ASCII order.", "test_some_tags"),
        (MUST_NOT, "`last` is no position.", "test_some_tags"),
        (MUST, "`last` is a tag.", "test_some_tags"),
        (MUST, "With `last` tags are in ASCII order.", "test_some_tags"),
        (MAY, "An `n` that is no number is refused.", "test_a_number_of_tags_that_is_none"),
    ),
    *_section(
        Category.DISCOVERY,
        "Listing Referrers",
        (MUST, "The referrers of a digest in a repository that is there are 200.", "test_every_referrer_once"),
        (MUST_NOT, "Referrers are never 404.", "test_no_referrers"),
        (MUST, "Referrers of what is no digest are 400.", "test_referrers_of_no_digest"),
        (MUST, "The answer is an image index of descriptors.", "test_a_referrer"),
        (MUST, "Its `Content-Type` is that of an image index.", "test_a_referrer"),
        (MUST, "A descriptor has the `artifactType` of its manifest.", "test_a_referrer"),
        (MUST, "An image without one has its config's media type.", "test_a_referrer"),
        (MUST, "An index without one has none.", "test_a_referrer"),
        (MUST, "A descriptor has the annotations of its manifest.", "test_a_referrer"),
        (MUST, "When nothing refers to the digest the list is empty.", "test_no_referrers"),
        (MAY, "The subject need not be there.", "test_a_referrer_of_what_is_not_there_yet"),
        (MUST, "A list too long for one answer goes on at a `Link`.", _ONE_LIST),
        (MUST, "That `Link` has the relation `next` and the form of its RFC.", _ONE_LIST),
        (SHOULD, "Referrers can be filtered by `artifactType`.", "test_referrers_of_one_type"),
        (MUST, "A filter that was applied is named in `OCI-Filters-Applied`.", "test_referrers_of_one_type"),
        (MUST, "Several filters are named there with commas between them.", Inapplicable("There is one filter.")),
        (
            SHOULD,
            "Where there is no referrers API the fallback tag holds what it would say.",
            Inapplicable("There is a referrers API; clients keep the tag, or need not."),
        ),
    ),
    *_section(
        Category.DISCOVERY,
        "Catalog (not in the spec: Docker Registry HTTP API V2)",
        (MAY, "The list of repositories is closed unless a setting opens it.", "test_the_catalog_is_closed"),
        (MAY, "Where it is open it is paged like tags.", "test_the_catalog_page_by_page"),
    ),
    # --- Content management
    *_section(
        Category.MANAGEMENT,
        "Deleting tags",
        (MUST, "The DELETE of a tag is 202.", "test_a_tag_is_deleted"),
        (MAY, "The manifest stays, even without tags.", "test_the_last_tag_is_deleted"),
        (MUST, "Where this is disabled it is 400 or 405.", _DELETION_IS_ON),
    ),
    *_section(
        Category.MANAGEMENT,
        "Deleting Manifests",
        (MUST, "The DELETE of a manifest is 202, and its tags go with it.", "test_a_manifest_is_deleted"),
        (MAY, "It leaves the referrers of its subject.", "test_a_referrer_is_deleted"),
        (MAY, "It can be pushed again.", "test_a_deleted_manifest_can_be_pushed_again"),
        (MUST, "From a repository that does not exist it is 404.", "test_an_unknown_repository_to_delete_from"),
        (MAY, "A manifest that the repository does not hold is 404.", "test_an_unknown_manifest_to_delete"),
        (MUST, "Where this is disabled it is 400 or 405.", _DELETION_IS_ON),
    ),
    *_section(
        Category.MANAGEMENT,
        "Deleting Blobs",
        (MUST, "The DELETE of a blob is 202.", "test_a_blob_is_deleted"),
        (MUST, "A blob that the repository does not hold is 404.", "test_an_unknown_blob_to_delete"),
        (MUST, "Where this is disabled it is 400 or 405.", _DELETION_IS_ON),
    ),
    # --- HTTP
    *_section(
        Category.HTTP,
        "RFC 9110, Range Requests",
        (SHOULD, "A range that is there is answered 206 with its bytes.", "test_a_range"),
        (MUST, "A 206 says in `Content-Range` which bytes it has.", "test_a_range"),
        (MUST, "A 206 has the `ETag` that the 200 would have.", "test_a_range"),
        (MAY, "Ranges are offered in `Accept-Ranges`.", "test_ranges_are_offered"),
        (SHOULD, "A range that is not there is answered 416.", "test_a_range_that_is_not_there"),
        (MAY, "So is a range that ends before it begins.", "test_a_range_that_is_not_there"),
        (SHOULD, "A 416 says in `Content-Range` how long the content is.", "test_a_range_that_is_not_there"),
        (MUST, "A range in an unknown unit is ignored.", "test_a_range_in_an_unknown_unit"),
        (MUST, "A range is ignored where it means nothing, as in a HEAD.", "test_a_range_of_a_head"),
        (MAY, "Several ranges at once are answered with the whole content.", "test_several_ranges"),
    ),
    *_section(
        Category.HTTP,
        "RFC 9110, Conditional Requests",
        (SHOULD, "Content has an `ETag`.", "test_the_etag"),
        (
            MUST_NOT,
            "Content is not sent to a client that has it, as `If-None-Match` says.",
            "test_content_that_the_client_has",
        ),
        (MUST, "It is answered 304.", "test_content_that_the_client_has"),
        (MUST, "A 304 has the `ETag` that the 200 would have.", "test_content_that_the_client_has"),
        (MUST, "Tags in `If-None-Match` are compared weakly.", "test_content_that_the_client_has"),
        (MAY, "Content that the client does not have is sent.", "test_content_that_the_client_has_not"),
        (MUST, "`If-None-Match` comes before `Range`.", "test_a_condition_comes_before_a_range"),
        (MUST, "A range is ignored when `If-Range` does not hold.", "test_a_range_of_what_the_client_knows"),
        (MUST, "Tags in `If-Range` are compared strongly.", "test_a_range_of_what_the_client_knows"),
    ),
    *_section(
        Category.HTTP,
        "RFC 9110, methods, fields and status codes",
        (MUST_NOT, "The answer to a HEAD has no body.", "test_a_head_has_no_body"),
        (SHOULD, "The answer to a HEAD has the fields of the GET's.", "test_a_head_has_the_headers_of_the_get"),
        (MUST_NOT, "A 204 has no `Content-Length`.", "test_no_content_has_no_length"),
        (
            MUST_NOT,
            "A 304 has no `Content-Length` other than that of the 200.",
            "test_not_modified_has_no_other_length",
        ),
        (MUST, "A 405 says in `Allow` which methods there are.", "test_a_method_that_is_not_there"),
        (MUST, "An answer has a `Date`.", "test_every_answer_is_dated"),
        (SHOULD, "Content has a `Content-Type`.", "test_content_has_a_type"),
    ),
)
