-- What `POST /v1/platform/price_previews` asks: the charged rows since an instant that a version would have priced, what they
-- cost and what they would have cost. Counts and sums over all organizations, nothing that is theirs.
create or replace function control.preview_price(version control.prices, since timestamptz)
returns table (usage_rows bigint, cost_picousd numeric, cost_picousd_then numeric)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    charged text;
begin
    if not control.sees_platform() then
        raise exception 'prices are the platform''s' using errcode = 'insufficient_privilege';
    end if;
    if version.tags = '{}' and version.input_tokens_range = '[0,)'
        and to_regclass('intermediate.int_usage_quarter_hours') is not null
    then
        charged := 'select org_id, endpoint, price_id, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,'
            ' cost_picousd, usage_rows from control.organizations as o'
            -- By organization, as the index has it.
            ' inner join intermediate.int_usage_quarter_hours as q on o.id = q.org_id'
            ' where quarter_hour_at >= $2 and model_id = ($1).model_id and charge_class = ''charged''';
    else
        -- Only single rows have tags and lengths.
        charged := 'select org_id, endpoint::text, price_id, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,'
            ' cost_picousd, 1 as usage_rows from raw.usage_events'
            ' where started_at >= $2 and model_id = ($1).model_id and charge_class = ''charged'' and price_id is not null'
            ' and ($1).input_tokens_range @> input_tokens and coalesce(tags, ''{}'') @> ($1).tags';
    end if;
    return query execute
        'select coalesce(sum(u.usage_rows), 0)::bigint, coalesce(sum(u.cost_picousd), 0)::numeric, coalesce(sum('
        '(u.input_tokens - u.cached_input_tokens)::numeric * ($1).input_picousd'
        ' + u.cached_input_tokens::numeric * ($1).cached_input_picousd'
        ' + (u.output_tokens - u.reasoning_tokens)::numeric * ($1).output_picousd'
        ' + u.reasoning_tokens::numeric * coalesce(($1).reasoning_picousd, ($1).output_picousd)'
        ' + u.usage_rows::numeric * ($1).request_picousd), 0)::numeric'
        ' from (' || charged || ') as u inner join control.prices as v on v.id = u.price_id'
        ' where (($1).org_id is null or u.org_id = ($1).org_id)'
        ' and (($1).endpoint is null or u.endpoint = ($1).endpoint::text)'
        -- Not those of a version that would have come before it.
        ' and (($1).org_id is not null, ($1).priority::integer) >= (v.org_id is not null, v.priority::integer)'
        using version, since;
end
$$;
revoke all on function control.preview_price(control.prices, timestamptz) from public;
grant execute on function control.preview_price(control.prices, timestamptz) to inferhouse_management;
