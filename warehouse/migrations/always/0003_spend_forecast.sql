-- The one mart that a Polars job writes and not dbt: daily spend to come, per organization, with an interval.
create table if not exists marts.spend_forecast (
    org_id bigint not null,
    day_utc date not null,
    cost_picousd numeric not null check (cost_picousd >= 0),
    cost_picousd_low numeric not null check (cost_picousd_low between 0 and cost_picousd),
    cost_picousd_high numeric not null check (cost_picousd_high >= cost_picousd),
    interval_share numeric not null check (interval_share > 0 and interval_share < 1),
    days_of_history integer not null check (days_of_history > 0),
    forecast_at timestamptz not null,
    primary key (org_id, day_utc)
);
comment on table marts.spend_forecast is
'Expected spend per organization and UTC day to come. interval_share of past forecasts fell between low and high.';
alter table marts.spend_forecast owner to inferhouse_transform;
alter table marts.spend_forecast enable row level security;
drop policy if exists tenant_rows on marts.spend_forecast;
create policy tenant_rows on marts.spend_forecast for select to inferhouse_portal, inferhouse_tenant
using (org_id = (select control.current_org_id()));
drop policy if exists platform_rows on marts.spend_forecast;
create policy platform_rows on marts.spend_forecast for select to inferhouse_platform using (true);
grant select on marts.spend_forecast to inferhouse_portal, inferhouse_platform, inferhouse_tenant;
