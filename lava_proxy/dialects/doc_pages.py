"""Documents by the page: Mistral's OCR, LlamaParse, Reducto, Azure's document analysis and their like.

A page with an annotation is charged at another rate than a page: how many there were stands with the raw usage, and
``annotated_pages_in_pages`` tells that there were some.
"""

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, figures_text, name_of
from lava_proxy.dialects.pieces import amount_in, count_in, counted_only, in_pieces, length_of, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_PAGES = ("pages_processed", "num_pages", "job_pages", "page_count", "pageCount", "pages", "total_pages")
_UNENDED = frozenset({"pending", "running", "notstarted", "processing", "in_progress", "queued"})


def _read(state: JsonObject) -> Reading:
    carriers = (
        as_object(state.get("usage_info")),
        as_object(state.get("usage")),
        as_object(state.get("job_metadata")),
        as_object(state.get("metadata")),
        state,
    )
    told = [n for part in carriers for name in _PAGES if (n := count_in(part.get(name))) is not None]
    listed = length_of(as_object(state.get("analyzeResult")).get("pages")) or length_of(state.get("pages"))
    pages = told[0] if told else listed
    credits = next((c for part in carriers for n in ("credits", "credits_used") if (c := amount_in(part.get(n)))), None)
    figures = next((part for part in carriers[:3] if part), {})
    status = (name_of(state.get("status")) or "").lower()
    annotated = count_in(carriers[0].get("pages_processed_annotation"))
    return Reading(
        usage=NO_USAGE if pages is None and credits is None else Usage(pages=pages, credits=credits),
        model=name_of(state.get("model")),
        response_id=name_of(state.get("id")) or name_of(state.get("job_id")),
        raw_usage=(figures_text(figures),) if figures else (),
        is_pending=status in _UNENDED,
        is_error=status in ("failed", "error"),
        flags=("annotated_pages_in_pages",) if annotated else (),
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked = length_of(request.get("pages"))
    return plain_facts(request, path_model, counted=Usage(pages=asked) if asked else NO_USAGE)


DOC_PAGES = WireFormat(
    name="doc_pages",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=plain_fault,
    estimated=counted_only,
    takes_uploads=True,
)
