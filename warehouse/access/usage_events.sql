-- name: copy_in
copy raw.usage_events (
    request_id, attempt, started_at, finished_at, org_id, project_id, api_key_id, user_id, service_account_id,
    end_user, trace_id, tags, endpoint, model_asked, model_id, engine_id, stream, status, http_status, error_code,
    finish_reason, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, token_source,
    queue_us, ttft_us, duration_us, overhead_us, price_id, cost_picousd, charge_class
) from stdin (format binary)

-- name: create_replay
create temporary table replay (like raw.usage_events including defaults) on commit drop

-- name: copy_replay
copy replay (
    request_id, attempt, started_at, finished_at, org_id, project_id, api_key_id, user_id, service_account_id,
    end_user, trace_id, tags, endpoint, model_asked, model_id, engine_id, stream, status, http_status, error_code,
    finish_reason, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, token_source,
    queue_us, ttft_us, duration_us, overhead_us, price_id, cost_picousd, charge_class
) from stdin (format binary)

-- name: insert_replay
insert into raw.usage_events select * from replay on conflict do nothing

-- name: report_position
insert into raw.journal_positions (worker, reported_at, complete_to)
values (%(worker)s, now(), %(complete_to)s)
on conflict (worker) do update
set reported_at = excluded.reported_at, recorded_xid = excluded.recorded_xid, complete_to = excluded.complete_to

-- name: forget_position
delete from raw.journal_positions where worker = %(worker)s
