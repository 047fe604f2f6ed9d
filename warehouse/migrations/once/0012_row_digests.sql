-- The digest of a raw row: what invoices, archives, replays and the daily chain are compared by.
create function raw.row_digest(event raw.usage_events) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    '|', event.request_id, event.attempt, coalesce(event.trace_id::text, ''),
    (extract(epoch from event.started_at) * 1000000)::bigint, (extract(epoch from event.finished_at) * 1000000)::bigint,
    event.org_id, event.project_id, event.api_key_id,
    coalesce(event.user_id::text, ''), coalesce(event.service_account_id::text, ''),
    event.endpoint, event.stream::integer, event.status, event.http_status, coalesce(event.finish_reason::text, ''),
    coalesce(event.model_id::text, ''), coalesce(event.engine_id::text, ''),
    event.input_tokens, event.cached_input_tokens, event.output_tokens, event.reasoning_tokens, event.token_source,
    coalesce(event.queue_us::text, ''), coalesce(event.ttft_us::text, ''), event.duration_us,
    coalesce(event.overhead_us::text, ''),
    coalesce(event.price_id::text, ''), coalesce(event.cost_picousd::text, ''), event.charge_class,
    coalesce(to_json(event.model_asked)::text, ''), coalesce(to_json(event.error_code)::text, ''),
    coalesce(to_json(event.end_user)::text, ''), coalesce(event.tags::text, '')
), 'UTF8'));
comment on function raw.row_digest(raw.usage_events) is
'SHA-256 over the columns of a row, in the order of the function. When and by whom it was recorded is left out: a row that is
replayed or restored has the same digest. Free text is quoted as JSON, so that no two rows have the same bytes.';
