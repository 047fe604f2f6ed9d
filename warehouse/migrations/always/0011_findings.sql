-- Jobs write what they find; tenants see it through the marts only.
grant usage on schema findings to inferhouse_transform;
revoke all on all tables in schema findings from inferhouse_transform;
grant select, insert on findings.repricing_runs, findings.adjustments to inferhouse_transform;
grant select, insert, update on findings.anomalies to inferhouse_transform;
grant select, insert, delete on findings.forecast_backtests to inferhouse_transform;

do $$
declare
    of_findings text;
begin
    foreach of_findings in array array['anomalies', 'forecast_backtests', 'adjustments'] loop
        execute format('alter table findings.%I enable row level security', of_findings);
        execute format('drop policy if exists services_rows on findings.%I', of_findings);
        execute format(
            'create policy services_rows on findings.%I to inferhouse_transform using (true) with check (true)', of_findings
        );
    end loop;
end
$$;
