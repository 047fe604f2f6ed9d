-- name: is_empty
select to_regclass('control.organizations') is null as is_empty

-- name: tables
-- What billing needs to know: no session, no log, nothing that is sent to anybody. Frozen invoices are what a replay is for.
select table_class.oid::bigint as oid, namespace.nspname as schema_name, table_class.relname as table_name
from pg_class as table_class
inner join pg_namespace as namespace on table_class.relnamespace = namespace.oid
where
    table_class.relkind = 'r'
    and (
        (
            namespace.nspname = 'control'
            and table_class.relname in (
                'organizations', 'projects', 'users', 'org_members', 'service_accounts', 'api_keys', 'models', 'engines', 'prices',
                'discounts', 'volume_tiers', 'budgets', 'limits', 'model_aliases'
            )
        )
        or namespace.nspname = 'ledger'
        or (namespace.nspname = 'billing' and table_class.relname in ('tax_rates', 'tax_regions'))
        or (namespace.nspname = 'findings' and table_class.relname in ('repricing_runs', 'adjustments', 'decided_rows'))
    )
order by 2, 3

-- name: references_between
select constraint_of.conrelid::bigint as from_oid, constraint_of.confrelid::bigint as to_oid
from pg_constraint as constraint_of
where constraint_of.contype = 'f' and constraint_of.conrelid <> constraint_of.confrelid

-- name: columns
select attribute.attname as column_name
from pg_attribute as attribute
where
    attribute.attrelid = %(table)s::regclass and attribute.attnum > 0 and not attribute.attisdropped
    and attribute.attgenerated = ''
order by attribute.attnum

-- name: copy_from
copy (select {values} from {table}) to stdout

-- name: copy_to
copy {table} ({columns}) from stdin

-- name: triggers_off
alter table {table} disable trigger user

-- name: triggers_on
alter table {table} enable trigger user

-- name: engine_samples_from
copy (
    select {columns} from raw.engine_samples
    where sampled_at >= {starts_at} and sampled_at < {ends_at}
) to stdout

-- name: has_engine_samples
select to_regclass('raw.engine_samples') is not null as has_them
