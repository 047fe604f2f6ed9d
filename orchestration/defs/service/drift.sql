-- name: drifting
select day_utc, engine, is_settled, input_tokens_unexplained, output_tokens_unexplained, drift_share
from marts.reconciliation_daily
where status = 'drift' and day_utc >= (now() at time zone 'UTC')::date - %(days)s::integer
order by drift_share desc, day_utc desc, engine
limit %(rows_max)s

-- name: unsampled
select engine.name
from control.engines as engine
where engine.kind <> 'openai' and engine.enabled
    and not exists (
        select from raw.engine_samples as sample
        where sample.engine_id = engine.id and sample.sampled_at > now() - make_interval(secs => %(seconds)s)
    )
order by engine.name
limit %(rows_max)s
