-- Invoices: drafts may be made again, what is final is frozen by triggers, corrections are invoices of their own.
create schema billing;

create table billing.tax_rates (
    id integer generated always as identity primary key,
    region text not null check (region ~ '^[A-Z]{2}(-[A-Z0-9]{1,10})?$'),
    name text not null check (length(name) between 1 and 100),
    basis_points integer not null check (basis_points between 0 and 10000),
    months daterange not null check (
        not isempty(months) and lower_inc(months) and not upper_inc(months)
        and lower(months) = date_trunc('month', lower(months))
        and (upper_inf(months) or upper(months) = date_trunc('month', upper(months)))
    ),
    created_at timestamptz not null default now(),
    constraint tax_rates_no_overlap exclude using gist (region with =, name with =, months with &&)
);
comment on table billing.tax_rates is
'Taxes of a region by whole months: what a month was taxed by is not changed by a later rate. Several names: several taxes.';

create table billing.tax_regions (
    org_id bigint primary key references control.organizations (id),
    region text not null check (region ~ '^[A-Z]{2}(-[A-Z0-9]{1,10})?$')
);
comment on table billing.tax_regions is 'Where an organization pays taxes; one that is not here pays none.';

create table billing.invoices (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^inv_[0-9a-z]{12,32}$'),
    number text unique,
    org_id bigint not null references control.organizations (id),
    kind text not null check (kind in ('invoice', 'credit_note')),
    purpose text not null check (purpose in ('month', 'adjustments', 'void', 'credit')),
    corrects_invoice_id bigint references billing.invoices (id),
    status text not null default 'draft' check (status in ('draft', 'final', 'void')),
    period_month date not null check (period_month = date_trunc('month', period_month)),
    period_starts_at timestamptz not null,
    period_ends_at timestamptz not null,
    currency text not null check (currency = 'USD'),
    rounding_rule text not null check (rounding_rule = 'half_up_to_cent'),
    subtotal_picousd numeric(38, 0) not null default 0,
    amount numeric(20, 2) not null default 0,
    tax_amount numeric(20, 2) not null default 0,
    total numeric(20, 2) not null default 0,
    credits_applied numeric(20, 2) not null default 0,
    due numeric(20, 2) not null default 0,
    digest bytea check (length(digest) = 32),
    certificate_id bigint,
    reason text check (length(reason) between 1 and 500),
    drafted_at timestamptz not null default now(),
    drafted_by text not null,
    finalized_at timestamptz,
    finalized_by text,
    voided_at timestamptz,
    voided_by text,
    void_reason text check (length(void_reason) between 1 and 500),
    check (period_ends_at > period_starts_at),
    check (total = amount + tax_amount),
    check (due = total - credits_applied),
    check ((number is null) = (finalized_at is null)),
    check (status <> 'final' or (digest is not null and finalized_at is not null)),
    check ((status = 'void') = (voided_at is not null)),
    check ((purpose in ('void', 'credit')) = (corrects_invoice_id is not null))
);
comment on table billing.invoices is
'One per organization and month, and more for corrections. `draft` may be made again; `final` is never changed but to `void`.';
comment on column billing.invoices.purpose is
'month: the invoice of a month. adjustments: what came for a month that was final. void, credit: against another invoice.';
comment on column billing.invoices.digest is 'SHA-256 over what the invoice says, line by line: equal digests are equal invoices.';
create index invoices_org_id_idx on billing.invoices (org_id, period_month);
create unique index invoices_one_draft on billing.invoices (org_id, period_month)
where status = 'draft' and purpose in ('month', 'adjustments');
create unique index invoices_one_of_a_month on billing.invoices (org_id, period_month)
where status = 'final' and purpose = 'month';

create table billing.invoice_lines (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^il_[0-9a-f]{24}$'),
    invoice_id bigint not null references billing.invoices (id),
    line_key text not null,
    kind text not null check (kind in ('usage', 'volume_discount', 'discount', 'adjustment', 'credit')),
    adjusts text check (adjusts in ('usage', 'volume_discount', 'discount', 'price')),
    org_id bigint not null,
    period_month date not null,
    period_starts_at timestamptz not null,
    period_ends_at timestamptz not null,
    project_id bigint,
    model_id integer,
    price_id integer,
    token_class text check (token_class in ('input', 'cached_input', 'output', 'reasoning', 'request')),
    above_quantity bigint,
    basis_points integer,
    usage_rows bigint not null,
    quantity numeric(38, 0) not null,
    unit_price_picousd bigint,
    subtotal_picousd numeric(38, 0) not null,
    amount numeric(20, 2) not null check (amount = round(subtotal_picousd * 0.000000000001, 2)),
    row_set_digest bytea check (length(row_set_digest) = 32),
    rows_after_xid xid8 not null,
    as_of_xid xid8 not null,
    query text not null,
    unique (invoice_id, line_key),
    check (kind <> 'usage' or subtotal_picousd = quantity * unit_price_picousd),
    check ((kind = 'adjustment') = (adjusts is not null))
);
comment on table billing.invoice_lines is
'Frozen with their invoice. `period_month` is the month of the usage: for an adjustment not that of the invoice.';
comment on column billing.invoice_lines.line_key is 'What the line is for: the same in every month''s computation and adjustment.';
comment on column billing.invoice_lines.rows_after_xid is
'The rows of the line were recorded at or after it and before as_of_xid: rows that come later are a later line''s.';
create index invoice_lines_month_idx on billing.invoice_lines (org_id, period_month);

create table billing.tax_lines (
    id bigint generated always as identity primary key,
    invoice_id bigint not null references billing.invoices (id),
    period_month date not null,
    region text not null,
    name text not null,
    basis_points integer not null,
    taxable numeric(20, 2) not null,
    amount numeric(20, 2) not null check (amount = round(taxable * basis_points * 0.0001, 2)),
    unique (invoice_id, period_month, name)
);

create table billing.certificates (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^cert_[0-9a-z]{12,32}$'),
    invoice_id bigint not null references billing.invoices (id),
    invoice_digest bytea not null check (length(invoice_digest) = 32),
    passed boolean not null,
    checks jsonb not null check (jsonb_typeof(checks) = 'array' and jsonb_array_length(checks) > 0),
    made_at timestamptz not null default now(),
    made_by text not null
);
comment on table billing.certificates is
'What the gate found about one draft: each check with its verdict, its figures and what to do. Good for that digest only.';
create index certificates_invoice_id_idx on billing.certificates (invoice_id, id);
alter table billing.invoices add constraint invoices_certificate_id_fkey
foreign key (certificate_id) references billing.certificates (id);

create table billing.numbers (
    kind text primary key check (kind in ('invoice', 'credit_note')),
    last bigint not null check (last >= 0)
);
comment on table billing.numbers is 'Numbers of final invoices have no gap, so they come from rows that are locked, not from sequences.';
insert into billing.numbers (kind, last) values ('invoice', 0), ('credit_note', 0);
