-- Jobs write what they find. Nobody else may read here: tenants see their own through the marts.
grant usage on schema findings to inferhouse_transform, inferhouse_lines;
revoke all on all tables in schema findings from inferhouse_transform, inferhouse_lines;
grant select on findings.adjustments to inferhouse_lines;
grant select, insert on findings.repricing_runs, findings.adjustments, findings.decided_rows to inferhouse_transform;
grant select, insert, update on findings.anomalies to inferhouse_transform;
grant select, insert, delete on findings.forecast_backtests to inferhouse_transform;
